import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { presetRetention } from '../../src/api/effective.ts';
import { type RunReport, terminationMessage } from '../../src/api/run-result.ts';
import { cleanupOperations, guardSchema, limitsSchema } from '../../src/api/spec.ts';
import { connect } from '../../src/database/connect.ts';
import { configFromSecret } from '../../src/database/credentials.ts';
import type { RunnerEnvironment } from '../../src/runner/environment.ts';
import { runJob } from '../../src/runner/run-job.ts';
import { addInstructions } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { startTlsPostgres } from '../support/postgres/tls.ts';
import { freePort } from '../support/processes.ts';

// Who may read a policy's status, its Events and a run's log may not be allowed to read its Secret. The mark stands in
// every value of a Secret, and in the names of keys that nobody asked for; it may be nowhere else, in whatever case.
const mark = 'zq7contents';

let folder: string;
let database: TestDatabase;
let tls: Awaited<ReturnType<typeof startTlsPostgres>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retention-contents-'));
  database = await createDatabase({ template: 'no-action' });
  tls = await startTlsPostgres('localhost');
});
afterAll(async () => {
  await tls?.stop();
  await database?.drop();
  await rm(folder, { recursive: true, force: true });
});

async function mounted(keys: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(folder, 'secret-'));
  await mkdir(directory, { recursive: true });
  for (const [key, value] of Object.entries(keys)) await writeFile(join(directory, key), value);
  return directory;
}

interface Attempt {
  keys: Record<string, string>;
  ca?: string;
  tlsMode?: 'disable' | 'verify-full' | 'verify-ca';
  limits?: object;
}

/** All that a run by this Secret leaves for others to read: its report, its log, what the kubelet keeps, errors with their causes. */
async function leftBy({ keys, ca, tlsMode, limits = {} }: Attempt): Promise<{ report: RunReport; text: string }> {
  const databaseDirectory = await mounted(keys);
  const caDirectory = ca === undefined ? undefined : await mounted({ 'ca.crt': ca });
  const written: unknown[] = [];
  const write = (...entry: unknown[]) => written.push(entry);
  const environment: RunnerEnvironment = {
    request: {
      policy: { namespace: 'lab', name: 'evidence', uid: 'uid' },
      job: 'nightly',
      trigger: 'Schedule',
      operations: [...cleanupOperations],
      retention: presetRetention('Development'),
      database: {
        secretName: 'db',
        schema: 'public',
        timestampTimeZone: 'UTC',
        ...(tlsMode && { tlsMode }),
        ...(ca !== undefined && { caSecret: { name: 'ca', key: 'ca.crt' } }),
      },
      dryRun: false,
      guard: guardSchema.parse({ maxPercentOfTable: 100 }),
      limits: limitsSchema.parse(limits),
    },
    runId: 'run',
    databaseDirectory,
    caDirectory,
    serviceAccountDirectory: undefined,
  };
  const log = { debug: write, info: write, warn: write, error: write };
  const { report } = await runJob(environment, log, () => new Date(), new AbortController().signal);
  const failure = await configFromSecret({
    directory: databaseDirectory,
    secretName: 'db',
    ...(tlsMode && { tlsMode }),
  })
    .then((config) => connect({ ...config, connectTimeoutMs: 2_000 }, 'retention test'))
    .then(async (client) => client.end())
    .catch((error: unknown) => error);
  const text = [report, terminationMessage(report), ...written, failure].map((each) => inspect(each, { depth: 10 }));
  return { report, text: text.join('\n') };
}

/** A Secret in single keys, all of them marked, and a key that is somebody else's. */
const marked = {
  host: `${mark}.invalid`,
  port: '5432',
  dbname: mark,
  user: mark,
  password: mark,
  [`${mark}_stripe_api_key`]: mark,
};
const uri = (text: string) => ({ uri: text, [`${mark}_jwt_signing_key`]: mark });
const own = () => {
  const { hostname, port } = new URL(database.url);
  return { host: hostname, port };
};

const wrong: [what: string, attempt: () => Attempt | Promise<Attempt>, says: RegExp][] = [
  ['a missing key', () => ({ keys: { [`${mark}_key`]: mark } }), /^Secret db has no key uri and lacks host/],
  [
    'a port that is none',
    () => ({ keys: { ...marked, port: `sk_live_${mark}` } }),
    /^Secret db: port must be a number/,
  ],
  [
    'a host that cannot be resolved',
    () => ({ keys: marked }),
    /^the host name cannot be resolved; check the host in Secret/,
  ],
  ['no URI', () => ({ keys: uri(mark) }), /^Secret db, key uri: not a PostgreSQL URI/],
  ['a URI with an @ in its password', () => ({ keys: uri(`postgresql://u:${mark}/@h/d`) }), /percent-encode/],
  [
    'a URI with an unknown parameter',
    () => ({ keys: uri(`postgresql://u:p@h/d?${mark}=${mark}`) }),
    /the URI parameter is not/,
  ],
  [
    'a URI with a bad sslmode',
    () => ({ keys: uri(`postgresql://u:p@h/d?sslmode=${mark}`) }),
    /the sslmode is not supported/,
  ],
  [
    'a URI with a bad time limit',
    () => ({ keys: uri(`postgresql://u:p@h/d?connect_timeout=${mark}`) }),
    /connect_timeout must be/,
  ],
  [
    'a URI with a bad port',
    () => ({ keys: uri(`postgresql://${mark}:${mark}@${mark}:${mark}/${mark}`) }),
    /^Secret db, key uri/,
  ],
  ['a URI with a stray percent sign', () => ({ keys: uri(`postgresql://${mark}%:${mark}@${mark}/d`) }), /percent sign/],
  [
    'a port at which nothing listens',
    async () => ({ keys: { ...marked, host: '127.0.0.1', port: String(await freePort()) } }),
    /^nothing answers at the address in Secret db/,
  ],
  [
    'a login that the server refuses',
    () => ({ keys: { ...marked, ...own() }, tlsMode: 'disable' }),
    /refused the login of the user|failed: /,
  ],
  [
    'a database that is not there',
    () => ({
      keys: {
        ...marked,
        ...own(),
        user: new URL(database.url).username,
        password: decodeURIComponent(new URL(database.url).password) || mark,
      },
      tlsMode: 'disable',
    }),
    /has no database of the name that it says|refused the login/,
  ],
  [
    'a certificate of another authority',
    () => ({ keys: { ...marked, ...tlsAddress('localhost') }, tlsMode: 'verify-full' }),
    /^the certificate of the address in Secret db is not signed by/,
  ],
  [
    'a certificate for another name',
    () => ({ keys: { ...marked, ...tlsAddress('127.0.0.1') }, ca: tls.ca }),
    /^the certificate of the address in Secret db is for other names than its host/,
  ],
  ['a CA that is none', () => ({ keys: marked, ca: mark }), /^Secret ca, key ca\.crt: no PEM certificate/],
  [
    'a CA that only looks like one',
    () => ({
      keys: { ...marked, ...tlsAddress('localhost') },
      ca: `-----BEGIN CERTIFICATE-----\n${mark}\n-----END CERTIFICATE-----\n`,
    }),
    /Secret db|Secret ca/,
  ],
];

function tlsAddress(host: string) {
  return { host, port: new URL(tls.adminUrl).port };
}

describe('nothing of what a Secret holds shows where', () => {
  test.each(wrong)('it has %s', async (_what, attempt, says) => {
    const { report, text } = await leftBy(await attempt());
    expect(report.result).toBe('Failed');
    expect(report.message).toMatch(says);
    expect(text.toLowerCase()).not.toContain(mark);
  });

  test('the role that it names lacks privileges, for tables, replication and vacuum', async () => {
    const role = `${mark}_${database.name.slice(-6)}`;
    await addInstructions(database.pool, 60);
    await database.pool.query(`create role ${role} login password '${mark}'`);
    try {
      const keys = { ...marked, ...own(), dbname: database.name, user: role };
      const attempts = [{ keys }, { keys, limits: { maxReplicationLag: '1Gi' } }].map((each) => ({
        ...each,
        tlsMode: 'disable' as const,
      }));
      for (const attempt of attempts)
        expect((await leftBy(attempt)).text.replaceAll(database.name, '')).not.toContain(mark);
      await database.pool.query(`
        grant select, update, delete on all tables in schema public to ${role};
        create table note (of integer references agentinstruction (id)); create index on note (of)`);
      const refused = await leftBy(attempts[0]!);
      expect(refused.report.message).toMatch(/grant select \(of\) on public\.note to ROLE;/);
      expect(refused.text).not.toContain(mark);
      await database.pool.query(`grant select on note to ${role}`);
      const { report, text } = await leftBy(attempts[0]!);
      expect(report).toMatchObject({
        result: 'Succeeded',
        message: expect.stringMatching(/to ROLE|before PostgreSQL 17/),
      });
      expect(text).not.toContain(mark);
    } finally {
      await database.pool.query(`drop owned by ${role}; drop role ${role}`);
    }
  });
});
