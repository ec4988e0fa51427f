import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { configFromCommandLine } from '../../src/database/command-line.ts';
import { connect } from '../../src/database/connect.ts';
import { configFromSecret } from '../../src/database/credentials.ts';
import { type Certificate, type CertificateAuthority, createCertificateAuthority } from '../support/pki.ts';
import { type PostgresServer, startPostgres, withClient } from '../support/postgres/server.ts';
import { type Replicated, startReplicated } from '../support/postgres/standby.ts';
import { freePort } from '../support/processes.ts';

let folder: string;
let authority: CertificateAuthority;
let client: Certificate;
let tls: PostgresServer;
let replicated: Replicated;
let ca: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retention-providers-'));
  authority = await createCertificateAuthority('provider');
  client = await authority.issueClient('certified');
  const { certificate: cert, privateKey: key } = await authority.issueServer('localhost', ['localhost']);
  ca = await file('ca.crt', authority.certificate);
  [tls, replicated] = await Promise.all([
    startPostgres({ tls: { cert, key, ca: authority.certificate } }),
    startReplicated(),
  ]);
  await withClient(tls.adminUrl, async (admin) => {
    await admin.query('create role certified login');
    await admin.query(`create role reader login password 'reader'`);
    await admin.query('alter role reader set default_transaction_read_only = on');
    const { rows } = await admin.query<{ hba_file: string }>('show hba_file');
    const lines = ['hostssl all certified all cert', 'host all all all scram-sha-256'].join('\n');
    await admin.query(
      `copy (select unnest(string_to_array(${admin.escapeLiteral(lines)}, chr(10)))) to ${admin.escapeLiteral(rows[0]!.hba_file)}`,
    );
    await admin.query('select pg_reload_conf()');
  });
});
afterAll(async () => {
  await tls?.stop();
  await replicated?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function file(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

/** Connects by the URI and asks; the first column, or the error's sentence. */
async function ask(uri: string, query: string, env: Record<string, string> = {}): Promise<unknown> {
  try {
    const connection = await connect(await configFromCommandLine(uri, env), 'retention test');
    try {
      const { rows } = await connection.query({ text: query, rowMode: 'array' });
      return rows[0]![0];
    } finally {
      await connection.end();
    }
  } catch (error) {
    return (error as Error).message;
  }
}

const onTls = (parameters: string, user?: string) => {
  const url = new URL(tls.adminUrl);
  url.hostname = 'localhost';
  if (user !== undefined) {
    url.username = user;
    url.password = user === 'certified' ? '' : user;
  }
  return `${url.href}?${parameters}`;
};

const ssl = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';

describe('a URI as providers write it', () => {
  test.each(['require', 'prefer', 'disable'])('with channel_binding=%s logs in', async (binding) => {
    expect(await ask(onTls(`sslmode=require&channel_binding=${binding}`), ssl)).toBe(true);
  });

  test('with channel_binding=require is refused where there is no TLS', async () => {
    expect(await ask(onTls('sslmode=disable&channel_binding=require'), ssl)).toMatch(
      /channel_binding=require needs TLS, which is disabled/,
    );
  });

  test('with a NUL in it, behind which another startup parameter would stand, is refused', async () => {
    const hidden = '%00session_replication_role%00replica';
    expect(await ask(onTls(`sslmode=require&options=-csearch_path%3Dpublic${hidden}`), ssl)).toMatch(/NUL character/);
  });

  test('with require_auth=scram-sha-256 logs in by SCRAM', async () => {
    expect(await ask(onTls('sslmode=require&require_auth=scram-sha-256'), ssl)).toBe(true);
    expect(await ask(onTls('sslmode=require&require_auth=md5'), ssl)).toMatch(/scram-sha-256, which require_auth does/);
  });

  test('with options has them set', async () => {
    expect(await ask(onTls('options=-csearch_path%3Dapp%20-c%20lock_timeout%3D7s'), 'show search_path')).toBe('app');
    expect(await ask(onTls(''), 'show lock_timeout', { PGOPTIONS: '-c lock_timeout=7s' })).toBe('7s');
    expect(await ask(onTls('options=-csession_replication_role%3Dreplica'), ssl)).toMatch(/options must be -c with/);
  });

  test('with a client certificate logs in by it', async () => {
    const cert = await file('client.crt', client.certificate);
    const key = await file('client.key', client.privateKey);
    const user = 'select current_user';
    const files = `sslcert=${cert}&sslkey=${key}`;
    expect(await ask(onTls(`sslmode=verify-full&sslrootcert=${ca}&${files}`, 'certified'), user)).toBe('certified');
    const variables = { PGSSLCERT: cert, PGSSLKEY: key };
    expect(await ask(onTls('sslmode=require', 'certified'), user, variables)).toBe('certified');
    expect(await ask(onTls('sslmode=require', 'certified'), user)).toMatch(/certificate/);
  });

  test('with a client certificate in the Secret logs in by it, without a password', async () => {
    const directory = await mkdtemp(join(folder, 'secret-'));
    const { port } = new URL(tls.adminUrl);
    const keys = {
      ...{ host: 'localhost', port, dbname: 'postgres', user: 'certified' },
      ...{ 'ca.crt': authority.certificate, 'tls.crt': client.certificate, 'tls.key': client.privateKey },
    };
    for (const [key, value] of Object.entries(keys)) await writeFile(join(directory, key), value);
    const connection = await connect(await configFromSecret({ directory, secretName: 'db' }), 'retention test');
    await connection.end();
  });
});

describe('of several servers', () => {
  /** A URI of these servers, in this order. */
  const uri = (order: string[], parameters = '') => {
    const { username, password } = new URL(replicated.primary.adminUrl);
    return `postgresql://${username}:${password}@${order.join(',')}/postgres?sslmode=disable&${parameters}`;
  };
  const primary = () => new URL(replicated.primary.adminUrl).host;
  const standby = () => new URL(replicated.standby.adminUrl).host;
  const isStandby = 'select pg_is_in_recovery()';

  test.each(['', 'target_session_attrs=read-write', 'target_session_attrs=primary'])(
    'the primary is taken, wherever it stands: %s',
    async (parameters) => {
      const dead = `127.0.0.1:${await freePort()}`;
      for (const order of [
        [standby(), primary()],
        [primary(), standby()],
        [dead, standby(), primary()],
      ]) {
        expect(await ask(uri(order, parameters), isStandby)).toBe(false);
      }
    },
  );

  test('the first is taken with target_session_attrs=any', async () => {
    expect(await ask(uri([standby(), primary()], 'target_session_attrs=any'), isStandby)).toBe(true);
  });

  test('each is named with its reason where none will do', async () => {
    const dead = `127.0.0.1:${await freePort()}`;
    expect(await ask(uri([dead, standby()]), isStandby)).toMatch(
      /^nothing answers at .*; 127\.0\.0\.1:\d+ is a standby, and target_session_attrs is primary$/,
    );
  });

  test('each is named by its number where a Secret has them', async () => {
    const directory = await mkdtemp(join(folder, 'secret-'));
    await writeFile(join(directory, 'uri'), uri([`127.0.0.1:${await freePort()}`, standby()]));
    const config = await configFromSecret({ directory, secretName: 'db' });
    await expect(connect(config, 'retention test')).rejects.toThrow(
      /^nothing answers at server 1 of 2 in Secret db, key uri; [^;]*; server 2 of 2 in Secret db, key uri is a standby/,
    );
  });

  test('none is tried after one that refused the password', async () => {
    const wrong = uri([standby(), primary()], 'target_session_attrs=any').replace(/:[0-9a-f]{24}@/, ':wrong@');
    expect(await ask(wrong, isStandby)).toMatch(
      /^the server at [\d.:]+ refused the login of user "postgres" \([^;]*\); check [^;]*$/,
    );
  });
});

test('target_session_attrs=read-write refuses a single server that is a standby, or read-only', async () => {
  expect(await ask(`${replicated.standby.adminUrl}?sslmode=disable&target_session_attrs=read-write`, ssl)).toMatch(
    /is a standby, and target_session_attrs is read-write$/,
  );
  expect(await ask(onTls('target_session_attrs=read-write', 'reader'), ssl)).toMatch(
    /is read-only, and target_session/,
  );
  expect(await ask(onTls('target_session_attrs=primary', 'reader'), ssl)).toBe(true);
});
