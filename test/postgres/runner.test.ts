import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { effectiveRetention } from '../../src/api/effective.ts';
import { type RunRequest, runnerEnvironment } from '../../src/api/run-request.ts';
import { runReportSchema, runResultSchema } from '../../src/api/run-result.ts';
import { cleanupOperations, guardSchema, limitsSchema } from '../../src/api/spec.ts';
import { addConnection, addInstructions, countOf, emptyTables } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { createLogin, expectNoSecret, type Login } from '../support/postgres/login.ts';
import { blocks, expectNothingLeft, pidOf } from '../support/postgres/sessions.ts';
import { freePort } from '../support/processes.ts';
import { type Ended, RetentionProcesses } from '../support/retention-process.ts';
import { type StatusEndpoint, startStatusEndpoint } from '../support/status-endpoint.ts';

const processes = new RetentionProcesses();
let folder: string;
let database: TestDatabase;
let login: Login;
let api: StatusEndpoint;

beforeAll(async () => {
  api = await startStatusEndpoint();
  folder = await mkdtemp(join(tmpdir(), 'retention-runner-'));
  database = await createDatabase({ template: 'no-action' });
  login = await createLogin(database);
});
beforeEach(async () => {
  api.requests.length = 0;
  api.answers.length = 0;
  await emptyTables(database.pool);
});
afterAll(async () => {
  await processes.close();
  await api?.stop();
  await database?.drop();
  await login?.drop();
  await rm(folder, { recursive: true, force: true });
});

/** What a Pod gives its runner. */
interface Pod {
  request?: Partial<RunRequest>;
  /** Keys of the mounted Secret; undefined for a Secret that does not exist. */
  secret?: Record<string, string> | undefined;
  /** How it finds an API server, and the CA of that. */
  api?: Pick<StatusEndpoint, 'env' | 'ca'>;
}

const noGuard = guardSchema.parse({ maxPercentOfTable: 100 });

async function files(name: string, keys: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(folder, name));
  for (const [key, value] of Object.entries(keys)) await writeFile(join(directory, key), value);
  return directory;
}

async function environment(pod: Pod): Promise<Record<string, string>> {
  const request: RunRequest = {
    policy: { namespace: 'smartem', name: 'evidence', uid: 'a-uid' },
    job: 'nightly',
    trigger: 'Schedule',
    operations: [...cleanupOperations],
    retention: effectiveRetention({ preset: 'Development' }),
    database: { secretName: 'smartem-db', schema: 'public', timestampTimeZone: 'UTC' },
    dryRun: false,
    guard: noGuard,
    limits: limitsSchema.parse({}),
    ...pod.request,
  };
  const secret = 'secret' in pod ? pod.secret : { uri: login.url };
  return {
    LOG_LEVEL: 'debug',
    [runnerEnvironment.request]: JSON.stringify(request),
    [runnerEnvironment.runId]: 'evidence-nightly-29401234',
    [runnerEnvironment.databaseDirectory]: secret === undefined ? '/nowhere' : await files('secret', secret),
    [runnerEnvironment.terminationLog]: join(await files('termination', {}), 'log'),
    ...(pod.api && {
      ...pod.api.env,
      [runnerEnvironment.serviceAccountDirectory]: await files('serviceaccount', {
        token: 'a-token',
        'ca.crt': pod.api.ca,
        namespace: 'smartem',
      }),
    }),
  };
}

async function startRunner(pod: Pod = {}) {
  const env = await environment(pod);
  const runner = processes.start(['run'], env);
  return { ...runner, ended: runner.ended.then((ended) => finished(ended, env)) };
}

async function runRunner(pod: Pod = {}) {
  return (await startRunner(pod)).ended;
}

/** What the process left behind; none of it may hold the password. */
async function finished(ended: Ended, env: Record<string, string>) {
  const termination = await readFile(env[runnerEnvironment.terminationLog]!, 'utf8');
  expectNoSecret(ended.stdout, ended.stderr, termination);
  expect(Buffer.byteLength(termination)).toBeLessThanOrEqual(4096);
  const logs = ended.stderr
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const report = ended.stdout === '' ? undefined : runReportSchema.parse(JSON.parse(ended.stdout));
  return { exitCode: ended.exitCode, report, termination, logs, result: report?.result, message: report?.message };
}

describe('a run', () => {
  test('ends with 0 and its result on stdout, as termination message, and in the log', async () => {
    await addInstructions(database.pool, 5);
    await addConnection(database.pool);
    const retention = { ...effectiveRetention({ preset: 'Development' }), batchSize: 2 };
    const { exitCode, report, termination, logs } = await runRunner({ request: { retention } });
    expect(exitCode).toBe(0);
    expect(report).toMatchObject({
      id: 'evidence-nightly-29401234',
      job: 'nightly',
      trigger: 'Schedule',
      result: 'Succeeded',
      rows: 8,
      operations: [{ closed: 1 }, { deleted: 5 }, { archived: 2 }, { deleted: 0 }],
    });
    expect(JSON.parse(termination)).toEqual(JSON.parse(JSON.stringify(report)));
    const batches = logs.filter((line) => line.msg === 'batch' && line.operation === 'instructions');
    const numbers = Array.from({ length: report!.operations[1]!.batches }, (_, index) => index + 1);
    expect(numbers.length).toBeGreaterThan(1);
    expect(batches.map((line) => [line.level, line.batch])).toEqual(numbers.map((batch) => ['debug', batch]));
    const done = logs.filter((line) => line.msg === 'operation done');
    expect(done.map((line) => line.name)).toEqual(cleanupOperations);
    await expectNothingLeft(database, 'retention evidence/nightly');
  });

  test('takes single keys of a Secret, as operators for PostgreSQL write them', async () => {
    await addInstructions(database.pool, 1);
    const { hostname: host, port } = new URL(login.url);
    const keys = { host, port, dbname: database.name, username: login.user, password: `${login.password}\n` };
    const request = { database: { ...plainDatabase, tlsMode: 'disable' as const } };
    expect(await runRunner({ secret: keys, request })).toMatchObject({ exitCode: 0, result: 'Succeeded' });
    expect(await countOf(database.pool, 'agentinstruction')).toBe(0);
  });

  test('that is a dry run, or has nothing to do, ends with 0', async () => {
    expect(await runRunner()).toMatchObject({ exitCode: 0, result: 'Succeeded' });
    await addInstructions(database.pool, 3);
    expect(await runRunner({ request: { dryRun: true } })).toMatchObject({ exitCode: 0, result: 'DryRun' });
    expect(await countOf(database.pool, 'agentinstruction')).toBe(3);
  });

  test('of statistics ends with 0 and has them in its report', async () => {
    await addInstructions(database.pool, 3);
    const { exitCode, report } = await runRunner({ request: { job: 'statistics', operations: ['statistics'] } });
    expect(exitCode).toBe(0);
    expect(report).toMatchObject({ result: 'Succeeded', operations: [], statistics: { due: { instructions: 3 } } });
  });

  test('that the guard stops ends with 3, and nothing is changed', async () => {
    await addInstructions(database.pool, 5);
    const { exitCode, report } = await runRunner({ request: { guard: guardSchema.parse({ maxRowsPerRun: 4 }) } });
    expect(exitCode).toBe(3);
    expect(report).toMatchObject({ result: 'Blocked', rows: 0 });
    expect(report?.message).toMatch(/maxRowsPerRun 4/);
    expect(await countOf(database.pool, 'agentinstruction')).toBe(5);
  });
});

describe('a run says what it worked on', () => {
  const databaseOf = async (pod: Pod) => (await runRunner(pod)).report?.database;

  test('whatever came of it, and has no name of the Secret in it', async () => {
    await addInstructions(database.pool, 5);
    const found = await databaseOf({ request: { dryRun: true } });
    expect(found).toEqual({
      secret: 'smartem-db',
      schema: 'public',
      fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/),
    });
    expect(JSON.stringify(found)).not.toContain(database.name);
    expect(await databaseOf({ request: { operations: ['statistics'] } })).toEqual(found);
    expect(await databaseOf({ request: { guard: guardSchema.parse({ maxRowsPerRun: 4 }) } })).toEqual(found);
    expect(await databaseOf({})).toEqual(found);
  });

  test('also where the schema is not the right one, and not where it could not connect', async () => {
    const schema = { ...plainDatabase, schema: 'nowhere' };
    const { report, exitCode } = await runRunner({ request: { database: schema } });
    expect([exitCode, report]).toMatchObject([2, { result: 'Failed', database: { schema: 'nowhere' } }]);
    const secret = { uri: login.url.replace(database.name, 'no_such_database') };
    expect(await databaseOf({ secret })).toBeUndefined();
  });
});

const plainDatabase = { secretName: 'smartem-db', schema: 'public', timestampTimeZone: 'UTC' };

describe('a run that cannot work ends with a sentence', () => {
  test.each<[string, Record<string, string> | undefined, RegExp]>([
    [
      'without its Secret',
      undefined,
      /^Secret smartem-db does not exist or is empty: create it in the policy's namespace/,
    ],
    ['with an empty Secret', {}, /^Secret smartem-db does not exist or is empty/],
    [
      'with a missing key',
      { host: 'h', user: 'u', dbname: 'd' },
      /^Secret smartem-db has no key uri and lacks password/,
    ],
    ['with a bad URI', { uri: 'postgresql://u:Xq7zSecret@a b/d' }, /^Secret smartem-db, key uri: host must be/],
  ])('and 2, %s', async (_, secret, sentence) => {
    const { exitCode, report, termination } = await runRunner({ secret });
    expect(exitCode).toBe(2);
    expect(report).toMatchObject({ result: 'Failed', rows: 0, message: expect.stringMatching(sentence) });
    expect(runResultSchema.parse(JSON.parse(termination)).message).toBe(report?.message);
  });

  test('and 2, in a schema without the tables', async () => {
    const { exitCode, message } = await runRunner({ request: { database: { ...plainDatabase, schema: 'other' } } });
    expect(exitCode).toBe(2);
    expect(message).toMatch(/^table agentsession does not exist in schema "other" of this database/);
  });

  test('and 1, with a wrong password', async () => {
    const uri = new URL(login.url);
    uri.password = encodeURIComponent('not Xq7zSecret');
    const { exitCode, message } = await runRunner({ secret: { uri: uri.href } });
    expect(exitCode).toBe(1);
    expect(message).toMatch(
      /^the server in Secret smartem-db, key uri refused the login of the user; check user and password there$/,
    );
  });

  test('and 1, where nothing listens for a minute and a half', { timeout: 180_000 }, async () => {
    const uri = new URL(login.url);
    uri.port = String(await freePort());
    expect(await runRunner({ secret: { uri: uri.href } })).toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(/^nothing answers at /),
    });
  });

  test.each([
    ['is not JSON', '{', /^RETENTION_POLICY is not JSON$/],
    ['is of another form', '{}', /^RETENTION_POLICY: policy: /],
    ['is missing', '', /^RETENTION_POLICY is not set: `retention run` is started by the controller/],
  ])('and 2, where its request %s', async (_, request, sentence) => {
    const env = { ...(await environment({})), [runnerEnvironment.request]: request };
    const { exitCode, termination } = await finished(await processes.run(['run'], env), env);
    expect(exitCode).toBe(2);
    expect(termination).toMatch(sentence);
  });
});

test('a run whose LOG_LEVEL is none ends with 2, and says so in its termination message', async () => {
  const env = { ...(await environment({})), LOG_LEVEL: 'loud' };
  const { exitCode, termination } = await finished(await processes.run(['run'], env), env);
  expect(exitCode).toBe(2);
  expect(termination).toBe('LOG_LEVEL must be one of trace, debug, info, warn, error, fatal, silent (given: "loud")');
});

describe('SIGTERM', () => {
  test('in the middle of a run lets its batch end and begins no other, and the run reports itself: 4', async () => {
    await addInstructions(database.pool, 50);
    const runner = await startRunner({
      api,
      request: {
        retention: { ...effectiveRetention({ preset: 'Development' }), batchSize: 1 },
        limits: limitsSchema.parse({ pauseBetweenBatches: '1h' }),
        operations: ['instructions'],
      },
    });
    await eventually('a first batch', async () => (await countOf(database.pool, 'agentinstruction')) < 50);
    runner.kill('SIGTERM');
    const { exitCode, report } = await runner.ended;
    expect(exitCode).toBe(4);
    expect(report).toMatchObject({ result: 'Partial', rows: 1, message: 'stopped: SIGTERM received' });
    expect(await countOf(database.pool, 'agentinstruction')).toBe(49);
    expect(api.requests[0]?.body).toMatchObject({ status: { jobs: [{ name: 'nightly', lastRun: report }] } });
    await expectNothingLeft(database, 'retention evidence/nightly');
  });

  test('cancels a statement that hangs, and the process is out within 10 s', async () => {
    await addInstructions(database.pool, 5);
    const holder = await database.client();
    await holder.query('begin');
    await holder.query('select from agentinstruction where id = 2 for update');
    const limits = limitsSchema.parse({ lockTimeout: '1h', statementTimeout: '24h' });
    const runner = await startRunner({ request: { limits } });
    await blocks(database, await pidOf(holder));
    const { exitCode, report } = await within10s(runner);
    expect(exitCode).toBe(4);
    expect(report).toMatchObject({ result: 'Partial', operations: [{}, { deleted: 4, message: 'not finished' }] });
    await expectNothingLeft(database, 'retention evidence/nightly');
    await holder.end();
  });

  test('ends statistics that hang', async () => {
    const holder = await database.client();
    await holder.query('begin');
    await holder.query('lock table agentsession, agentinstruction in access exclusive mode');
    const limits = limitsSchema.parse({ lockTimeout: '1h' });
    const runner = await startRunner({ request: { limits, operations: ['statistics'], job: 'statistics' } });
    await blocks(database, await pidOf(holder));
    const { exitCode, report } = await within10s(runner);
    expect(exitCode).toBe(4);
    expect(report).toMatchObject({ result: 'Partial', message: expect.stringMatching(/SIGTERM received/) });
    await holder.end();
  });

  async function within10s(runner: Awaited<ReturnType<typeof startRunner>>) {
    const deadline = AbortSignal.timeout(10_000);
    runner.kill('SIGTERM');
    const ended = await runner.ended;
    expect(deadline.aborted, 'it took more than 10 s').toBe(false);
    return ended;
  }
});

describe('the report to the API server', () => {
  test("is a server-side apply of the run's own part of the status, under its job's manager", async () => {
    await addInstructions(database.pool, 3);
    const { report } = await runRunner({ api });
    expect(report?.result).toBe('Succeeded');
    expect(api.requests).toHaveLength(1);
    expect(api.requests[0]).toMatchObject({
      method: 'PATCH',
      path: '/apis/retention.agentdata.io/v1alpha1/namespaces/smartem/retentionpolicies/evidence/status',
      query: { fieldManager: 'retention-run-nightly', force: 'true' },
      headers: { 'content-type': 'application/apply-patch+yaml', authorization: 'Bearer a-token' },
    });
    expect(api.requests[0]?.body).toEqual({
      apiVersion: 'retention.agentdata.io/v1alpha1',
      kind: 'RetentionPolicy',
      metadata: { name: 'evidence', namespace: 'smartem', uid: 'a-uid' },
      status: { jobs: [{ name: 'nightly', lastRun: report }] },
    });
    expectNoSecret(JSON.stringify(api.requests));
  });

  test('of statistics has these first, under a manager of their own: a later run that fails leaves them', async () => {
    const { report } = await runRunner({ api, request: { job: 'statistics', operations: ['statistics'] } });
    const { statistics, ...lastRun } = report!;
    const written = api.requests.map(({ query, body }) => [query.fieldManager, (body as { status: object }).status]);
    expect(written).toEqual([
      ['retention-statistics', { statistics }],
      ['retention-run-statistics', { jobs: [{ name: 'statistics', lastRun }] }],
    ]);
  });

  test('is also made by a run that failed', async () => {
    const { exitCode } = await runRunner({ api, secret: undefined });
    expect(exitCode).toBe(2);
    expect(api.requests[0]?.body).toMatchObject({
      status: {
        jobs: [{ lastRun: { result: 'Failed', message: expect.stringMatching(/^Secret smartem-db does not/) } }],
      },
    });
  });

  test.each([401, 403, 429, 503])('is tried again after %i', async (code) => {
    api.answers.push(code, code);
    expect(await runRunner({ api })).toMatchObject({ exitCode: 0, result: 'Succeeded' });
    expect(api.requests).toHaveLength(3);
  });

  test.each([404, 409, 422])(
    'is not tried again after %i, and the exit code stays that of the result',
    async (code) => {
      api.answers.push(code);
      const { exitCode, logs, termination } = await runRunner({ api });
      expect(exitCode).toBe(0);
      expect(JSON.parse(termination)).toMatchObject({ result: 'Succeeded' });
      expect(api.requests).toHaveLength(1);
      expect(logs).toContainEqual(expect.objectContaining({ level: 'error', error: `scripted ${code}` }));
    },
  );

  test.each([
    ['SIGTERM ends the wait for an API server that is away', async () => ({ env: await nobody(), ca: api.ca })],
    [
      'SIGTERM ends the wait for an API server that does not answer',
      async () => {
        api.answers.push('hang', 'hang');
        return api;
      },
    ],
    [
      'SIGTERM ends the wait for an API server with another CA',
      async () => ({ ...api, ca: (await startedOther()).ca }),
    ],
  ])('is tried for a while, and %s: the exit code stays that of the result', async (_, endpoint) => {
    await addInstructions(database.pool, 3);
    const guard = guardSchema.parse({ maxRowsPerRun: 2 });
    const runner = await startRunner({ api: await endpoint(), request: { guard } });
    await eventually('a report has been tried', async () => {
      return api.requests.length > 0 || runner.stderr().includes('writing the result to the status failed');
    });
    const deadline = AbortSignal.timeout(10_000);
    runner.kill('SIGTERM');
    const { exitCode, termination } = await runner.ended;
    expect(deadline.aborted, 'it took more than 10 s').toBe(false);
    expect(exitCode).toBe(3);
    expect(JSON.parse(termination)).toMatchObject({ result: 'Blocked' });
  });

  test('cannot be made without a token, and the run happens', async () => {
    const env = await environment({ api });
    await rm(join(env[runnerEnvironment.serviceAccountDirectory]!, 'token'));
    await mkdir(join(env[runnerEnvironment.serviceAccountDirectory]!, 'token'));
    const runner = processes.start(['run'], env);
    await eventually('the report has been tried', async () => runner.stderr().includes('no credentials for the Kube'));
    runner.kill('SIGTERM');
    expect(await finished(await runner.ended, env)).toMatchObject({ exitCode: 0, result: 'Succeeded' });
  });

  async function nobody() {
    return { ...api.env, KUBERNETES_SERVICE_PORT: String(await freePort()) };
  }

  async function startedOther(): Promise<StatusEndpoint> {
    const other = await startStatusEndpoint();
    await other.stop();
    return other;
  }
});
