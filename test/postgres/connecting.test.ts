import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { configFromCommandLine } from '../../src/database/command-line.ts';
import type { TlsMode } from '../../src/database/config.ts';
import { connect } from '../../src/database/connect.ts';
import { configFromSecret, type MountedCredentials } from '../../src/database/credentials.ts';
import { eventually } from '../support/eventually.ts';
import { createCertificateAuthority } from '../support/pki.ts';
import { withClient } from '../support/postgres/server.ts';
import { startTlsPostgres, type TlsServer } from '../support/postgres/tls.ts';
import { freePort } from '../support/processes.ts';

const password = 'p@ss/w:rd?&#% "secret';
let folder: string;
let tls: TlsServer;
let ca: string;
let wrongCa: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retention-connecting-'));
  tls = await startTlsPostgres();
  ca = await file('ca.crt', tls.ca);
  wrongCa = await file('wrong.crt', (await createCertificateAuthority('another authority')).certificate);
});
afterAll(async () => {
  await tls?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function file(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

/** A server's URI with other parts. */
function uri(server: string, parts: { host?: string; sslmode?: string; password?: string; database?: string } = {}) {
  const url = new URL(server);
  if (parts.host !== undefined) url.host = parts.host.includes(':') ? parts.host : `${parts.host}:${url.port}`;
  if (parts.sslmode !== undefined) url.searchParams.set('sslmode', parts.sslmode);
  if (parts.password !== undefined) url.password = encodeURIComponent(parts.password);
  if (parts.database !== undefined) url.pathname = `/${parts.database}`;
  return url.href;
}

/** Connects as the command line does; `encrypted` or `plain`, as the server sees it, or the error's sentence. */
async function outcome(databaseUrl: string, tlsMode?: TlsMode, caFile?: string): Promise<string> {
  const given = decodeURIComponent(new URL(databaseUrl).password);
  try {
    const env = { PGSSLROOTCERT: caFile };
    const client = await connect(await configFromCommandLine(databaseUrl, env, tlsMode), 'retention test');
    const { rows } = await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
    await client.end();
    return rows[0].ssl ? 'encrypted' : 'plain';
  } catch (error) {
    for (const secret of [given, encodeURIComponent(given)]) expect(inspect(error)).not.toContain(secret);
    return (error as Error).message;
  }
}

async function secret(name: string, keys: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(folder, name));
  for (const [key, value] of Object.entries(keys)) await writeFile(join(directory, key), value);
  return directory;
}

const connectBy = async (mounted: MountedCredentials) => connect(await configFromSecret(mounted), 'retention test');

const localhost = (sslmode?: string) => uri(tls.adminUrl, { host: 'localhost', sslmode });
const address = (sslmode?: string) => uri(tls.adminUrl, { sslmode });

describe('TLS', () => {
  test('verify-full takes a server whose certificate is of the CA and for its name', async () => {
    expect(await outcome(localhost(), 'verify-full', ca)).toBe('encrypted');
  });

  test('verify-full is the mode where a CA is given and nothing is said, require where none is', async () => {
    expect(await outcome(localhost(), undefined, ca)).toBe('encrypted');
    expect(await outcome(address(), undefined, ca)).toMatch(/is for other names than 127\.0\.0\.1/);
    expect(await outcome(address())).toBe('encrypted');
  });

  test.each(['verify-full', 'verify-ca'] as const)('%s refuses a certificate of another CA', async (mode) => {
    const sentence = /^the certificate of localhost:\d+ is not signed by the CA that was given .* give the CA/;
    expect(await outcome(localhost(), mode, wrongCa)).toMatch(sentence);
    expect(await outcome(localhost(), mode)).toMatch(
      /is not signed by a public CA, and no other was given .* give the CA/,
    );
  });

  test('verify-full refuses a certificate for another name, verify-ca takes it', async () => {
    expect(await outcome(address(), 'verify-full', ca)).toMatch(
      /^the certificate of 127\.0\.0\.1:\d+ is for other names than 127\.0\.0\.1; connect by a name it holds, or set/,
    );
    expect(await outcome(address(), 'verify-ca', ca)).toBe('encrypted');
  });

  test('require encrypts and asks for no CA', async () => {
    expect(await outcome(address(), 'require')).toBe('encrypted');
    expect(await outcome(address('require'))).toBe('encrypted');
  });

  test("the stricter of the policy's mode and the URI's counts", async () => {
    expect(await outcome(address('require'), 'verify-full', ca)).toMatch(/is for other names/);
    expect(await outcome(address('verify-full'), 'disable', ca)).toMatch(/is for other names/);
    expect(await outcome(localhost('verify-full'), 'disable', wrongCa)).toMatch(/not signed by the CA/);
    expect(await outcome(address('require'), 'disable')).toBe('encrypted');
    expect(await outcome(address('disable'), 'require')).toBe('encrypted');
  });

  test('a CA is looked at under require too, from the URI, from the variables and from a Secret', async () => {
    const sentence = /is not signed by the CA that was given/;
    expect(await outcome(`${localhost('require')}&sslrootcert=${wrongCa}`)).toMatch(sentence);
    expect(await outcome(localhost('require'), undefined, wrongCa)).toMatch(sentence);
    expect(await outcome(address('require'), undefined, ca)).toBe('encrypted');
    const other = (await readFile(wrongCa, 'utf8')).trim();
    const directory = await secret('database', { uri: localhost('require') });
    const mounted = { directory: await secret('ca', { 'ca.crt': other }), secretName: 'db-ca', key: 'ca.crt' };
    await expect(connectBy({ directory, secretName: 'db', ca: mounted })).rejects.toThrow(sentence);
    const beside = await secret('database', { uri: localhost('require'), 'ca.crt': other });
    await expect(connectBy({ directory: beside, secretName: 'db' })).rejects.toThrow(sentence);
    const own = await secret('database', { uri: localhost('require'), 'ca.crt': tls.ca });
    await (await connectBy({ directory: own, secretName: 'db' })).end();
  });

  test('sslrootcert=system means the public CAs and verify-full', async () => {
    expect(await outcome(`${localhost()}?sslrootcert=system`)).toMatch(/is not signed by the CA that was given/);
    expect(await outcome(`${localhost('require')}&sslrootcert=system`)).toMatch(/sslmode must be verify-full/);
  });

  test("the URI's mode and CA count where no mode is set", async () => {
    expect(await outcome(address('disable'))).toBe('plain');
    expect(await outcome(`${localhost('verify-full')}&sslrootcert=${ca}`)).toBe('encrypted');
    expect(await outcome(`${localhost('verify-full')}&sslrootcert=${wrongCa}`)).toMatch(/not signed by the CA/);
  });

  test.each(['prefer', 'allow', 'no-verify'])('the mode %s, which may go without, is refused', async (mode) => {
    expect(await outcome(address(mode))).toBe(
      '--database-url: sslmode must be one of disable, require, verify-ca, verify-full, since others may fall back to plain text unseen',
    );
  });

  test('disable is refused by a server that demands TLS, with a sentence', async () => {
    await withClient(tls.adminUrl, async (admin) => {
      const { rows } = await admin.query<{ hba_file: string }>('show hba_file');
      await admin.query(
        `copy (values ('hostssl all all all scram-sha-256')) to ${admin.escapeLiteral(rows[0]!.hba_file)}`,
      );
      await admin.query('select pg_reload_conf()');
    });
    const refused = await eventually('the server demands TLS', async () => {
      const answer = await outcome(address(), 'disable');
      return answer !== 'plain' && answer;
    });
    expect(refused).toMatch(/no encryption/);
    expect(refused).toMatch(/TLS mode|sslmode/);
    expect(await outcome(address(), 'require')).toBe('encrypted');
  });

  test.each(['require', 'verify-ca', 'verify-full'] as const)(
    '%s is refused without TLS on the server',
    async (mode) => {
      expect(await outcome(inject('postgres').adminUrl, mode, ca)).toMatch(
        /offers no TLS; turn it on there, or set the TLS mode to disable/,
      );
    },
  );

  test('a CA file that is missing or holds none is named', async () => {
    expect(await outcome(localhost(), 'verify-full', '/nowhere/ca.crt')).toBe(
      'PGSSLROOTCERT: the file /nowhere/ca.crt cannot be read',
    );
    const empty = await file('empty.crt', 'nothing\n');
    expect(await outcome(localhost(), 'verify-full', empty)).toBe(
      `PGSSLROOTCERT: ${empty}: no PEM certificate: it must have a line -----BEGIN CERTIFICATE-----, and what belongs to it`,
    );
  });

  test('a mounted Secret with a CA connects by verify-full', async () => {
    const { username, password: its, port } = new URL(tls.adminUrl);
    const keys = { host: 'localhost', port, dbname: 'postgres', user: username, password: its };
    const directory = await secret('database', keys);
    const mounted = {
      directory,
      secretName: 'db',
      ca: { directory: await secret('ca', { 'ca.crt': tls.ca }), secretName: 'db-ca', key: 'root.pem' },
    };
    const client = await connect(await configFromSecret(mounted), 'retention test');
    const { rows } = await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
    await client.end();
    expect(rows).toEqual([{ ssl: true }]);
    const without = { ...mounted, ca: { ...mounted.ca, directory: await secret('empty', {}) } };
    await expect(configFromSecret(without)).rejects.toThrow(
      'Secret db-ca (spec.database.tls.caSecretRef) does not exist or has no key root.pem',
    );
  });
});

describe('a connection that cannot be made', () => {
  const server = () => uri(inject('postgres').adminUrl, { sslmode: 'disable' });

  test('for no password says where one can be given', async () => {
    const config = await configFromCommandLine(uri(server(), { password: '' }), {});
    await expect(connect(config, 'retention test')).rejects.toThrow(
      /^the login to 127\.0\.0\.1:\d+ was broken off: it asks for a password, and none was given; give one in --database-url or by PGPASSWORD$/,
    );
  });

  test('for a wrong password names server, user and where both were said', async () => {
    expect(await outcome(uri(server(), { password }))).toMatch(
      /^the server at 127\.0\.0\.1:\d+ refused the login of user "postgres" \(.*\); check user and password in --database-url$/,
    );
  });

  test('for a database that does not exist names it', async () => {
    expect(await outcome(uri(server(), { database: 'nowhere' }))).toMatch(
      /^the server at 127\.0\.0\.1:\d+ has no database "nowhere"; check the name in --database-url$/,
    );
  });

  test('where nothing listens says so', async () => {
    expect(await outcome(uri(server(), { host: `127.0.0.1:${await freePort()}`, password }))).toMatch(
      /^nothing answers at 127\.0\.0\.1:\d+; is the server up, and are host and port in --database-url right\?$/,
    );
  });

  test('to a name that nobody knows says so', async () => {
    expect(await outcome(uri(server(), { host: 'database.invalid', password }))).toBe(
      'the host name database.invalid cannot be resolved; check the host in --database-url',
    );
  });

  test('to a server that does not answer ends after connect_timeout', async () => {
    const mute = createServer().listen(0, '127.0.0.1');
    try {
      await eventually('it listens', async () => mute.listening);
      const { port } = mute.address() as { port: number };
      expect(await outcome(`${uri(server(), { host: `127.0.0.1:${port}`, password })}&connect_timeout=1`)).toBe(
        `no answer from 127.0.0.1:${port} within 1 s; check host and port in --database-url, and network policies`,
      );
    } finally {
      mute.close();
    }
  });

  test.each([
    [
      'of another kind',
      'mysql://u:SECRET@h/d',
      'not a PostgreSQL URI: it must start with postgresql:// or postgres://',
    ],
    ['with a host that is none', 'postgresql://u:SECRET@a b/d', 'host must be a name'],
    ['with a parameter that libpq has', 'postgresql://u:SECRET@h/d?passfile=x', 'URI parameter "passfile" is not'],
    ['with an unknown parameter', 'postgresql://u:1?SECRET', 'has a URI parameter that is not supported'],
    [
      'with an option that is refused',
      'postgresql://u:SECRET@h/d?options=-crow_security=on',
      'options must be -c with',
    ],
    ['without a user', 'postgresql://:SECRET@h/d', 'user is missing'],
    ['with a stray percent sign', 'postgresql://u:100%SECRET@h/d', 'write %25 for a percent sign'],
    ['with a stray slash', 'postgresql://u:SEC/SECRET@h/d', 'has an @ behind a /, ? or #; percent-encode'],
    ['with a stray question mark', 'postgresql://u:12?SECRET@h/d', 'has an @ behind a /, ? or #; percent-encode'],
    ['with a stray hash', 'postgresql://u:12#SECRET@h/d', 'has an @ behind a /, ? or #; percent-encode'],
    ['with a bad time limit', 'postgresql://u:SECRET@h/d?connect_timeout=x', 'connect_timeout must be a number'],
  ])('for a URI %s is refused without showing the password', async (_, given, sentence) => {
    const error = await configFromCommandLine(given, {}).catch((reason: Error) => reason);
    expect(inspect(error)).not.toContain('SECRET');
    expect((error as Error).message).toContain(`--database-url: `);
    expect((error as Error).message).toContain(sentence);
  });
});
