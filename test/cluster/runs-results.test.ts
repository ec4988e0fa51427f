import { afterAll, beforeAll, expect, test } from 'vitest';
import { cutText } from '../../src/api/run-result.ts';
import { maxShortMessage } from '../../src/api/status.ts';
import { acquireRunLock } from '../../src/database/run-lock.ts';
import { checksums } from '../support/data/checksum.ts';
import { addConnection, addInstructions, countOf } from '../support/data/due-rows.ts';
import { databaseFailures } from '../support/database-failures.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf } from '../support/policies.ts';
import { entryOf } from '../support/policy-runs.ts';
import { type RunDatabase, type RunServer, startRunServer, uriOf } from '../support/postgres/run-database.ts';
import { connector } from '../support/retention.ts';
import { Runs } from '../support/runs.ts';

const cluster = useCluster();
let server: RunServer;
let runs: Runs;

beforeAll(async () => {
  [server, runs] = await Promise.all([startRunServer(), Runs.start(cluster)]);
});

afterAll(async () => {
  await runs?.stop();
  await server?.stop();
});

const connections = { jobs: [{ name: 'cleanup', operations: ['connections'] }] };
const instructions = { jobs: [{ name: 'cleanup', operations: ['instructions'] }] };
const noGuard = { guard: { maxPercentOfTable: 100 } };

/** A policy with a database of its own. */
async function policyWithDatabase(name: string, spec: Record<string, unknown>): Promise<RunDatabase> {
  const database = await server.createDatabase();
  await runs.applySecret(`${name}-db`, database.login);
  await runs.applyPolicy(name, spec);
  return database;
}

async function sums({ pool }: RunDatabase) {
  const client = await pool.connect();
  try {
    return await checksums(client);
  } finally {
    client.release();
  }
}

// Side by side: two of them wait for a minute to pass.
test.concurrent('a CronJob fires by itself, and its run says Schedule', async () => {
  const database = await server.createDatabase();
  // Before the policy, which may be due at once.
  await addConnection(database.pool);
  await runs.applySecret('scheduled-db', database.login);
  await runs.applyPolicy('scheduled', { ...connections, schedule: '* * * * *', timeZone: 'Asia/Tokyo' });
  const fired = await eventually('a Job of the CronJob', async () => (await runs.jobs('scheduled'))[0], {
    seconds: 90,
  });
  const { run, status } = await runs.result('scheduled', fired.metadata!.name!);
  expect(run).toMatchObject({ trigger: 'Schedule', result: 'Succeeded', rows: 1 });
  expect(await countOf(database.pool, 'agentconnection', `status = 'timeout'`)).toBe(1);
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
  expect(entryOf(status)).toMatchObject({
    cronJob: 'scheduled-cleanup',
    schedule: '* * * * *',
    timeZone: 'Asia/Tokyo',
  });
  expect(Date.parse(status.nextRun!) - Date.parse(run.startTime)).toBeLessThanOrEqual(120_000);
  expect(await runs.exitCode(run.id)).toBe(0);
}, 240_000);

test.concurrent('a second run at the same time is Skipped after a minute, and clears no success', async ({
  expect,
}) => {
  const database = await policyWithDatabase('skipped', connections);
  await runs.runNow('skipped');
  await addConnection(database.pool);
  const lock = await acquireRunLock(connector(database.url), 'public', 1_000, new AbortController().signal);
  const { run, status } = await runs.runNow('skipped', 'cleanup', { seconds: 90 });
  await lock!.release();
  expect(run).toMatchObject({ result: 'Skipped', rows: 0, operations: [], database: { secret: 'skipped-db' } });
  expect(run.message).toMatch(/another run has been at work on this database .* nothing was changed/);
  expect(await runs.exitCode(run.id)).toBe(5);
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
  expect(await runs.columns('skipped')).toMatchObject({ RESULT: 'Skipped', ROWS: '0' });
  expect(await countOf(database.pool, 'agentconnection', `status = 'timeout'`)).toBe(0);
}, 240_000);

test.concurrent('a run whose due rows are all locked is Partial, and renews no success', async ({ expect }) => {
  const database = await policyWithDatabase('locked', { ...connections, limits: { lockTimeout: '10ms' } });
  const { status: before } = await runs.runNow('locked');
  await addConnection(database.pool);
  const holder = await database.pool.connect();
  await holder.query('begin; select from agentconnection for update');
  const { run, status } = await runs.runNow('locked');
  await holder.query('rollback');
  holder.release();
  expect(run).toMatchObject({ result: 'Partial', rows: 0, operations: [{ name: 'connections', skipped: 1 }] });
  expect(await runs.exitCode(run.id)).toBe(4);
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({
    status: 'False',
    reason: 'RunPartial',
    message: expect.stringContaining('none of the rows due was changed'),
  });
  expect(entryOf(status)!.lastSuccessTime).toBe(entryOf(before)!.lastSuccessTime);
});

test.concurrent('a run that the guard blocks changes nothing and says so, until the guard is raised', async ({
  expect,
}) => {
  const database = await policyWithDatabase('blocked', instructions);
  await addInstructions(database.pool, 3);
  const before = await sums(database);
  const { run, status } = await runs.runNow('blocked');
  expect(run).toMatchObject({ result: 'Blocked', rows: 0 });
  expect(await sums(database)).toEqual(before);
  const words =
    /3 of 3 rows with something to lose \(100%\) are due .* more than guard\.maxPercentOfTable 50\. .*raise spec\.guard/;
  expect(run.message).toMatch(words);
  expect(await runs.exitCode(run.id)).toBe(3);
  const failed = conditionOf(status, 'LastRunSucceeded')!;
  expect(failed).toMatchObject({ status: 'False', reason: 'RunBlocked' });
  expect(failed.message).toMatch(words);
  expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'True' });
  await runs.event('blocked', 'RunBlocked', words);
  const columns = await runs.columns('blocked');
  expect(columns).toMatchObject({ READY: 'True', RESULT: 'Blocked', ROWS: '0' });
  expect(columns.MESSAGE).toBe(cutText(failed.message, maxShortMessage));

  await runs.patchSpec('blocked', noGuard);
  const { run: raised, status: cleared } = await runs.runNow('blocked');
  expect(raised).toMatchObject({ result: 'Succeeded', rows: 3 });
  expect(conditionOf(cleared, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
});

test.concurrent('a dry run counts, writes nothing, and is no success', async () => {
  const database = await policyWithDatabase('dry', { ...instructions, ...noGuard, dryRun: true });
  await addInstructions(database.pool, 3);
  const before = await sums(database);
  const { run, status } = await runs.runNow('dry');
  expect(run).toMatchObject({ result: 'DryRun', rows: 3, operations: [{ name: 'instructions', deleted: 3 }] });
  expect(await sums(database)).toEqual(before);
  expect(await runs.exitCode(run.id)).toBe(0);
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'Unknown', reason: 'DryRun' });
  const columns = await runs.columns('dry');
  expect(columns).toMatchObject({ RESULT: 'DryRun', ROWS: '3' });

  await runs.patchSpec('dry', { dryRun: false });
  const { run: real, status: after } = await runs.runNow('dry');
  expect(real).toMatchObject({ result: 'Succeeded', rows: 3, operations: [{ name: 'instructions', deleted: 3 }] });
  expect(conditionOf(after, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
});

test.concurrent('a run that reaches maxDuration ends itself as Partial, and the next one goes on', async ({
  expect,
}) => {
  const database = await policyWithDatabase('partial', {
    ...connections,
    retention: { batchSize: 1 },
    limits: { maxDuration: '10s', pauseBetweenBatches: '1h' },
  });
  for (let i = 0; i < 3; i++) await addConnection(database.pool);
  const { run, status } = await runs.runNow('partial');
  expect(run).toMatchObject({ result: 'Partial', rows: 1, operations: [{ closed: 1, batches: 1 }] });
  expect(run.message).toContain('maxDuration 10s is over, the next run goes on');
  expect(await runs.exitCode(run.id)).toBe(4);
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'False', reason: 'RunPartial' });
  expect(await runs.columns('partial')).toMatchObject({ RESULT: 'Partial', ROWS: '1' });

  await runs.patchSpec('partial', { limits: { maxDuration: '1h', pauseBetweenBatches: '0s' } });
  const { run: next, status: after } = await runs.runNow('partial');
  expect(next).toMatchObject({ result: 'Succeeded', rows: 2 });
  expect(conditionOf(after, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
  expect(entryOf(after)!.lastFailure).toBeUndefined();
});

test.concurrent('a job that succeeds neither removes nor hides what another one failed with', async () => {
  const database = await policyWithDatabase('jobs', {
    ...noGuard,
    jobs: [
      { name: 'heartbeat', operations: ['connections'] },
      { name: 'nightly', operations: ['instructions'] },
    ],
    statistics: { schedule: '0 0 1 1 *' },
  });
  await addConnection(database.pool);
  await addInstructions(database.pool, 2);
  await database.pool.query(`revoke delete on agentinstruction from "${database.login.user}"`);

  // At the same time: whichever gets the database first, the other waits for it.
  const first = await runs.request('jobs', 'heartbeat');
  const second = await runs.request('jobs', 'nightly');
  const heartbeat = await runs.result('jobs', first.metadata!.name!);
  const nightly = await runs.result('jobs', second.metadata!.name!);
  expect(heartbeat.run).toMatchObject({ job: 'heartbeat', result: 'Succeeded', rows: 1 });
  expect(nightly.run).toMatchObject({ job: 'nightly', result: 'Failed', rows: 0 });
  expect(nightly.run.message).toMatch(
    /permission denied for table agentinstruction: .*`retention grants` prints what it needs/,
  );

  const { status: withStatistics } = await runs.runNow('jobs', 'statistics');
  const { run: again, status } = await runs.runNow('jobs', 'heartbeat');
  expect(again).toMatchObject({ result: 'Succeeded', rows: 0 });
  expect(entryOf(status, 'nightly')!.lastRun).toEqual(nightly.run);
  expect(status.statistics).toEqual(withStatistics.statistics);
  expect(status.statistics!.due).toMatchObject({ connections: 0, instructions: 2 });
  const failed = conditionOf(status, 'LastRunSucceeded')!;
  expect(failed).toMatchObject({ status: 'False', reason: 'RunFailed' });
  expect(failed.message).toMatch(/^nightly: Failed: .*permission denied for table agentinstruction/);
  expect(status.lastRun).toMatchObject({ id: again.id, job: 'heartbeat', rows: 0, result: 'Failed' });
  const columns = await runs.columns('jobs');
  expect(columns).toMatchObject({ READY: 'True', RESULT: 'Failed', ROWS: '0' });
  expect(columns.MESSAGE).toMatch(/^nightly: Failed: .*permission denied/);

  await database.pool.query(`grant delete on agentinstruction to "${database.login.user}"`);
  const { run: repaired, status: after } = await runs.runNow('jobs', 'nightly');
  expect(repaired).toMatchObject({ result: 'Succeeded', rows: 2 });
  expect(conditionOf(after, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
  expect(await runs.columns('jobs')).toMatchObject({ RESULT: 'Succeeded', ROWS: '2' });

  await database.pool.query('alter table agentconnection rename to elsewhere');
  const { run: blind, status: last } = await runs.runNow('jobs', 'statistics');
  expect(blind.result).toBe('Failed');
  expect(last.statistics).toEqual(withStatistics.statistics);
});

test.concurrent.for(databaseFailures)(
  '$name: said in status, columns and an Event; put right, the next run clears it',
  // A server that may come is waited for.
  { timeout: 240_000 },
  async ({ name, words, exitCode, secret = (right) => right, caSecret = rightCa, sql }) => {
    const database = await server.createDatabase();
    await addConnection(database.pool);
    const wrong = [await secret(database.login), await caSecret()];
    if (wrong[0]) await runs.applySecret(`${name}-db`, wrong[0]);
    if (wrong[1]) await runs.applySecret(`${name}-ca`, wrong[1]);
    if (sql) await database.pool.query(sql.breaks);
    await runs.applyPolicy(name, {
      database: { tls: { caSecretRef: { name: `${name}-ca` } } },
      jobs: [{ name: 'cleanup', operations: ['connections'] }],
    });

    const { run, status } = await runs.runNow(name, 'cleanup', { seconds: 150 });
    expect(run).toMatchObject({ result: 'Failed', rows: 0 });
    expect(run.message).toMatch(words);
    expect(await runs.exitCode(run.id)).toBe(exitCode);
    const failed = conditionOf(status, 'LastRunSucceeded')!;
    expect(failed).toMatchObject({ status: 'False', reason: 'RunFailed' });
    expect(failed.message).toMatch(words);
    expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'True' });
    expect(conditionOf(status, 'Stalled')).toBeUndefined();
    await runs.event(name, 'RunFailed', words);
    const columns = await runs.columns(name);
    expect(columns).toMatchObject({ READY: 'True', RESULT: 'Failed', ROWS: '0' });
    expect(columns.MESSAGE).toBe(cutText(failed.message, maxShortMessage));

    if (sql) await database.pool.query(sql.repairs);
    await runs.applySecret(`${name}-db`, { uri: uriOf(database.login) });
    await runs.applySecret(`${name}-ca`, { 'ca.crt': server.ca });
    const { run: repaired, status: after } = await runs.runNow(name);
    expect(repaired).toMatchObject({ result: 'Succeeded', rows: 1 });
    expect(await countOf(database.pool, 'agentconnection', `status = 'timeout'`)).toBe(1);
    expect(conditionOf(after, 'LastRunSucceeded')).toMatchObject({ status: 'True', reason: 'RunsSucceeded' });
    expect(entryOf(after)!.lastFailure).toBeUndefined();
    expect(await runs.columns(name)).toMatchObject({ RESULT: 'Succeeded', ROWS: '1' });
  },
);

async function rightCa(): Promise<object> {
  return { 'ca.crt': server.ca };
}

test.concurrent('two policies that reach one database by two Secrets are found out by their runs', async ({
  expect,
}) => {
  const database = await policyWithDatabase('a-first', connections);
  const { status: first } = await runs.runNow('a-first');
  await runs.applySecret('b-second-db', { uri: uriOf(database.login) });
  await runs.applyPolicy('b-second', { ...connections, dryRun: true });
  const id = (await runs.request('b-second')).metadata!.name!;
  const { run } = await runs.result('b-second', id);
  expect(run.database).toEqual({ ...first.database, secret: 'b-second-db' });
  const stalled = await runs.policies.settled('b-second', 'Stalled', 'True');
  expect(conditionOf(stalled, 'Stalled')).toMatchObject({ reason: 'Overlap' });
  expect(conditionOf(stalled, 'Stalled')!.message).toContain('RetentionPolicy a-first, which is older');
  expect(conditionOf(await runs.policies.settled('a-first', 'Ready', 'True'), 'Stalled')).toBeUndefined();
});
