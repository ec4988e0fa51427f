import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { effectiveRetention } from '../../src/api/effective.ts';
import { cleanupOperations, guardSchema, limitsSchema } from '../../src/api/spec.ts';
import { connect } from '../../src/database/connect.ts';
import { configFromSecret } from '../../src/database/credentials.ts';
import type { RunnerEnvironment } from '../../src/runner/environment.ts';
import { runJob } from '../../src/runner/run-job.ts';
import { eventually } from '../support/eventually.ts';
import { recordingLog } from '../support/log.ts';
import { createCertificateAuthority } from '../support/pki.ts';
import { withClient } from '../support/postgres/server.ts';
import { startTlsPostgres, type TlsServer } from '../support/postgres/tls.ts';
import { freePort } from '../support/processes.ts';

/** In every value of the Secrets below. */
const mark = 'sk_live';
const user = `${mark}_user`;
const password = `${mark}_password`;
const dbname = `${mark}_db`;
let folder: string;
let tls: TlsServer;
let otherCa: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retention-contents-'));
  tls = await startTlsPostgres();
  otherCa = (await createCertificateAuthority('another authority')).certificate;
  await withClient(tls.adminUrl, async (admin) => {
    for (const role of [user, `${mark}_none`, `${mark}_full`])
      await admin.query(`create role ${role} password '${password}'`);
    await admin.query(`alter role ${user} login`);
    await admin.query(`alter role ${mark}_full login connection limit 0`);
    await admin.query(`create database ${dbname}`);
    await admin.query(`create database ${mark}_closed allow_connections false`);
    await admin.query(`create database ${mark}_private`);
    await admin.query(`revoke connect on database ${mark}_private from public`);
    const { rows } = await admin.query<{ hba_file: string }>('show hba_file');
    const lines = ['hostssl all all all scram-sha-256', 'hostnossl all postgres all scram-sha-256'].join('\n');
    await admin.query(
      `copy (select unnest(string_to_array(${admin.escapeLiteral(lines)}, chr(10)))) to ${admin.escapeLiteral(rows[0]!.hba_file)}`,
    );
    await admin.query('select pg_reload_conf()');
  });
});
afterAll(async () => {
  await tls?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function mounted(keys: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(folder, 'secret-'));
  await mkdir(directory, { recursive: true });
  for (const [key, value] of Object.entries(keys)) await writeFile(join(directory, key), value);
  return directory;
}

/** The Secret of a run that works, but for what `changes` says; a key that nobody asked about is there too. */
function keys(changes: Record<string, string> = {}): Record<string, string> {
  const { port } = new URL(tls.adminUrl);
  return { host: 'localhost', port, dbname, user, password, [`${mark}_key`]: `${mark}_value`, ...changes };
}

const uriOf = (of: Record<string, string>) =>
  `postgresql://${of.user}:${of.password}@${of.host}:${of.port}/${of.dbname}?connect_timeout=1`;

/** Runs a Pod's job; everything that it leaves behind, as text. */
async function traces(directory: string): Promise<{ all: string; message: string }> {
  const environment: RunnerEnvironment = {
    request: {
      policy: { namespace: 'smartem', name: 'evidence', uid: 'a-uid' },
      job: 'nightly',
      trigger: 'Schedule',
      operations: [...cleanupOperations],
      retention: effectiveRetention({ preset: 'Development' }),
      database: { secretName: 'db', schema: 'public', timestampTimeZone: 'UTC' },
      dryRun: false,
      guard: guardSchema.parse({}),
      limits: limitsSchema.parse({}),
    },
    runId: 'run',
    databaseDirectory: directory,
  } as RunnerEnvironment;
  const { log, lines } = recordingLog();
  const { report } = await runJob(environment, log, () => new Date(), new AbortController().signal, 1_500);
  expect(report.result).toBe('Failed');
  const error = await configFromSecret({ directory, secretName: 'db' })
    .then((config) => connect(config, 'retention test'))
    .catch((reason: unknown) => reason);
  const chain = inspect(error, { depth: 9, showHidden: true }).replaceAll(/^ +at .*$/gm, '');
  return { all: `${JSON.stringify(report)} ${JSON.stringify(lines)} ${chain}`, message: report.message! };
}

describe('nothing of a Secret is in report, log or error where', () => {
  const failures: [what: string, changes: () => Record<string, string>, sentence: RegExp][] = [
    [
      'the host is unknown',
      () => ({ host: `${mark.replace('_', '-')}.invalid` }),
      /host name of the server in Secret db cannot/,
    ],
    ['the password is wrong', () => ({ password: `${mark}_wrong` }), /refused the login of the user; check user and/],
    ['the user is unknown', () => ({ user: `${mark}_nobody` }), /refused the login of the user/],
    ['the role may not log in', () => ({ user: `${mark}_none` }), /refused the login of the user/],
    ['the role has too many connections', () => ({ user: `${mark}_full` }), /too many connections are open \(53300\)/],
    ['the database is unknown', () => ({ dbname: `${mark}_nowhere` }), /has no database of that name/],
    ['the database is closed', () => ({ dbname: `${mark}_closed` }), /the database accepts no connections \(55000\)/],
    ['the database is private', () => ({ dbname: `${mark}_private` }), /may not connect to the database \(42501\)/],
    ['TLS is demanded', () => ({ sslmode: 'disable' }), /refused the user without TLS; if it demands TLS/],
    ['the CA is another', () => ({ 'ca.crt': otherCa }), /is not signed by the CA that was given/],
    ['the name is another', () => ({ host: '127.0.0.1', 'ca.crt': tls.ca }), /is for other names than its host/],
    [
      'the CA is none',
      () => ({ 'ca.crt': `-----BEGIN CERTIFICATE-----\n${mark}\n-----END CERTIFICATE-----` }),
      /^Secret db, key ca.crt: no PEM certificate/,
    ],
    ['an option has a bad value', () => ({ options: `-c statement_timeout=${mark}` }), /server in Secret db failed/],
  ];
  test.each(failures)('%s', async (_what, changes, sentence) => {
    const found = await traces(await mounted(keys(changes())));
    expect(found.message).toMatch(sentence);
    expect(found.all).not.toMatch(/sk.live|127\.0\.0\.1/);
  });

  test.each(failures.slice(0, 8))('%s, by a URI', async (_what, changes, sentence) => {
    const found = await traces(await mounted({ uri: uriOf(keys(changes())) }));
    expect(found.message).toMatch(new RegExp(sentence.source.replace('Secret db', 'Secret db, key uri')));
    expect(found.all).not.toMatch(/sk.live/);
  });

  test('nobody listens, or answers', async () => {
    const port = String(await freePort());
    const refused = await traces(await mounted({ uri: uriOf(keys({ port })) }));
    expect(refused.message).toBe(
      'nothing answers at the server in Secret db, key uri; is the server up, and are host and port there right?',
    );
    const mute = createServer().listen(0, '127.0.0.1');
    try {
      await eventually('it listens', async () => mute.listening);
      const late = { ...keys(), host: '127.0.0.1', port: String((mute.address() as { port: number }).port) };
      const found = await traces(await mounted({ uri: uriOf(late) }));
      expect(found.message).toMatch(/^no answer from the server in Secret db, key uri within 1 s/);
      expect(`${found.all} ${refused.all}`).not.toMatch(new RegExp(`sk.live|127\\.0\\.0\\.1|${port}|${late.port}`));
    } finally {
      mute.close();
    }
  });

  test('the server repeats it later on', async () => {
    const client = await connect(
      await configFromSecret({ directory: await mounted(keys()), secretName: 'db' }),
      'retention test',
    );
    try {
      const repeated = client.query(
        `do $$ begin raise exception 'user "%" of %: no such database: %', current_user, current_user, current_database(); end $$`,
      );
      await expect(repeated).rejects.toThrow('user "***" of ***: no such database: ***');
      const beside = client.query(
        `do $$ begin raise exception 'no' using table = current_user, column = current_user, constraint = current_user; end $$`,
      );
      await expect(beside).rejects.toMatchObject({ table: '***', column: '***', constraint: '***' });
    } finally {
      await client.end();
    }
  });
});
