import { randomBytes } from 'node:crypto';
import { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { presetRetention } from '../../src/api/effective.ts';
import { cleanupOperations, limitsSchema } from '../../src/api/spec.ts';
import { ConfigurationError } from '../../src/database/config.ts';
import { grants } from '../../src/retention/grants.ts';
import { addInstructions, countOf, emptyTables } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { recordingLog } from '../support/log.ts';
import { type Pgbouncer, startPgbouncer } from '../support/postgres/pgbouncer.ts';
import { loadSchema } from '../support/postgres/schema.ts';
import { databaseUrl, withClient } from '../support/postgres/server.ts';
import { pausing } from '../support/postgres/sessions.ts';
import { type Replicated, startReplicated } from '../support/postgres/standby.ts';
import { connector, type RunOverrides, run, statistics } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

let servers: Replicated;
let primary: { url: string; pool: Pool };
let standby: { url: string; pool: Pool };

beforeAll(async () => {
  servers = await startReplicated();
  await withClient(servers.primary.adminUrl, (admin) => admin.query('create database agents template template0'));
  await withClient(databaseUrl(servers.primary.adminUrl, 'agents'), (client) => loadSchema(client, 'no-action'));
  primary = connectionsTo(servers.primary.adminUrl);
  standby = connectionsTo(servers.standby.adminUrl);
  await caughtUp();
});
beforeEach(() => emptyTables(primary.pool));
afterEach(async () => {
  await standby.pool.query('select pg_wal_replay_resume()');
  await primary.pool.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots');
  await caughtUp();
});
afterAll(async () => {
  await Promise.all([primary?.pool.end(), standby?.pool.end()]);
  await servers?.stop();
});

function connectionsTo(adminUrl: string): { url: string; pool: Pool } {
  const url = databaseUrl(adminUrl, 'agents');
  const pool = new Pool({ connectionString: url });
  pool.on('error', () => {});
  return { url, pool };
}

/** Waits until the standby has replayed all that the primary has written. */
function caughtUp(): Promise<boolean> {
  return eventually('the standby has caught up', async () => {
    const { rows } = await primary.pool.query<{ level: boolean }>(
      `select replay_lsn >= pg_current_wal_lsn() as level from pg_stat_replication where application_name = 'replica'`,
    );
    return rows[0]?.level ?? false;
  });
}

/** Writes more than 2 MiB of WAL, which changes no row. */
async function writeWal(): Promise<void> {
  await primary.pool.query(`select pg_logical_emit_message(true, 'test', repeat('x', 3000000))`);
}

/** Keeps the standby from replaying, and puts it behind. */
async function putStandbyBehind(): Promise<void> {
  await standby.pool.query('select pg_wal_replay_pause()');
  await writeWal();
  await eventually('the standby stands still', async () => {
    const { rows } = await standby.pool.query<{ state: string }>('select pg_get_wal_replay_pause_state() as state');
    return rows[0]?.state === 'paused';
  });
  await writeWal();
}

/** Makes a replication slot that nobody reads; `reserving` WAL from now on, or none until somebody reads it. */
async function addSlot(reserving: boolean): Promise<void> {
  await primary.pool.query(`select pg_create_physical_replication_slot('forgotten', $1)`, [reserving]);
  await writeWal();
}

const limits = { maxReplicationLag: '1Mi' };

/** Starts a run that is expected to wait for replication, and waits until it does. */
async function heldRun(overrides: RunOverrides = {}, database: { url: string } = primary) {
  const { log, lines } = recordingLog();
  const stop = new AbortController();
  const result = run(database, { limits, log, signal: stop.signal, ...overrides });
  await eventually('the run waits', async () => lines.some(({ message }) => message === 'waiting for replication'));
  return { result, stop };
}

const deletedInstructions = { operations: [{}, { name: 'instructions', deleted: 5 }, {}, {}] };

describe('while the standby is further behind than limits.maxReplicationLag', () => {
  test('a run waits, and goes on when it has caught up', async () => {
    await addInstructions(primary.pool, 5);
    await putStandbyBehind();
    const { result } = await heldRun();
    expect(await countOf(primary.pool, 'agentinstruction')).toBe(5);
    await standby.pool.query('select pg_wal_replay_resume()');
    expect(await result).toMatchObject({ result: 'Succeeded', ...deletedInstructions });
    expect((await result).message).toBeUndefined();
  });

  test('a run that has begun waits between its batches', async () => {
    await addInstructions(primary.pool, 40);
    const paused = pausing(connector(primary.url), statements.deleteInstructions);
    const held = heldRun({
      connect: paused.connect,
      operations: ['instructions'],
      retention: { batchSize: 1 },
      limits: { ...limits, pauseBetweenBatches: '100ms' },
    });
    await paused.reached;
    await putStandbyBehind();
    paused.resume();
    const { result } = await held;
    const left = await countOf(primary.pool, 'agentinstruction');
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(40);
    await standby.pool.query('select pg_wal_replay_resume()');
    expect(await result).toMatchObject({ result: 'Succeeded', operations: [{ deleted: 40 }] });
  });

  test('maxDuration ends the wait as Partial, with who is how far behind', async () => {
    await addInstructions(primary.pool, 5);
    await putStandbyBehind();
    const result = await run(primary, { operations: ['instructions'], limits: { ...limits, maxDuration: '8s' } });
    expect(result).toMatchObject({ result: 'Partial', rows: 0, operations: [{ deleted: 0, message: 'not finished' }] });
    expect(result.message).toMatch(
      /^stopped: maxDuration 8s is over.*it waited since standby "replica at 127\.0\.0\.1" is \d+Mi behind in replay, more than limits\.maxReplicationLag 1Mi$/,
    );
    expect(await countOf(primary.pool, 'agentinstruction')).toBe(5);
  });

  test('a stop ends the wait', async () => {
    await addInstructions(primary.pool, 5);
    await putStandbyBehind();
    const { result, stop } = await heldRun();
    stop.abort('SIGTERM received');
    expect(await result).toMatchObject({ result: 'Partial', rows: 0 });
    expect((await result).message).toMatch(/^stopped: SIGTERM received, it waited since standby/);
  });

  test('a run with nothing due does not wait, nor does one without the limit', async () => {
    await putStandbyBehind();
    expect(await run(primary, { limits })).toMatchObject({ result: 'Succeeded', rows: 0 });
    await addInstructions(primary.pool, 5);
    expect(await run(primary)).toMatchObject({ result: 'Succeeded', ...deletedInstructions });
  });
});

describe('a replication slot that nobody reads', () => {
  test('holds a run back until it is dropped', async () => {
    await addInstructions(primary.pool, 5);
    await addSlot(true);
    const { result } = await heldRun();
    expect(await countOf(primary.pool, 'agentinstruction')).toBe(5);
    await primary.pool.query(`select pg_drop_replication_slot('forgotten')`);
    expect(await result).toMatchObject({ result: 'Succeeded', ...deletedInstructions });
  });

  test('is named when the run has to end', async () => {
    await addInstructions(primary.pool, 5);
    await addSlot(true);
    const { message } = await run(primary, { limits: { ...limits, maxDuration: '8s' } });
    expect(message).toMatch(
      /replication slot "forgotten" retains \d+Mi of WAL, more than limits\.maxReplicationLag 1Mi/,
    );
  });

  test('holds nobody back while it retains no WAL', async () => {
    await addInstructions(primary.pool, 5);
    await addSlot(false);
    expect(await run(primary, { limits })).toMatchObject({ result: 'Succeeded', ...deletedInstructions });
  });
});

describe('through pgbouncer in transaction mode', () => {
  let pgbouncer: Pgbouncer | undefined;
  beforeAll(async () => {
    pgbouncer = await startPgbouncer(primary.url);
  });
  afterAll(() => pgbouncer?.stop());

  test('a run waits outside any transaction but that of its lock, and goes on', async ({ skip }) => {
    if (pgbouncer === undefined) return skip();
    await addInstructions(primary.pool, 5);
    await addSlot(true);
    const { result } = await heldRun({}, pgbouncer);
    await eventually('only the lock’s transaction is open', async () => {
      const open = `datname = 'agents' and pid <> pg_backend_pid() and state <> 'idle'`;
      return (await countOf(primary.pool, 'pg_stat_activity', open)) === 1;
    });
    await primary.pool.query(`select pg_drop_replication_slot('forgotten')`);
    expect(await result).toMatchObject({ result: 'Succeeded', ...deletedInstructions });
  });
});

test('a role that may not see replication changes nothing until it has the grant that `retention grants` prints', async () => {
  const role = `retention "role" ${randomBytes(4).toString('hex')}`;
  const name = `"${role.replaceAll('"', '""')}"`;
  const retention = presetRetention('Development');
  await primary.pool.query(`create role ${name} login password 'secret'`);
  await primary.pool.query(grants(role, 'public', retention));
  const asRole = new URL(primary.url);
  asRole.username = encodeURIComponent(role);
  asRole.password = 'secret';
  const runAsRole = (overrides: RunOverrides) => run({ url: asRole.href }, overrides);
  await addInstructions(primary.pool, 5);
  for (const dryRun of [false, true]) {
    const refused = runAsRole({ limits, dryRun });
    await expect(refused).rejects.toThrow(ConfigurationError);
    await expect(refused).rejects.toThrow(`limits.maxReplicationLag: the run's role cannot see`);
    await expect(refused).rejects.toThrow('grant pg_read_all_stats to it ');
    await expect(refused).rejects.not.toThrow(role);
  }
  expect(await countOf(primary.pool, 'agentinstruction')).toBe(5);
  await primary.pool.query(grants(role, 'public', retention, limitsSchema.parse(limits)));
  expect(await runAsRole({ limits, dryRun: true })).toMatchObject({ result: 'DryRun', rows: 6 });
  await putStandbyBehind();
  const { message } = await runAsRole({ limits: { ...limits, maxDuration: '8s' } });
  expect(message).toMatch(/standby "replica at 127\.0\.0\.1" is/);
});

test('a standby takes dry runs and statistics, and refuses real runs', async () => {
  await addInstructions(primary.pool, 5);
  await caughtUp();
  const refused = run(standby);
  await expect(refused).rejects.toThrow(ConfigurationError);
  await expect(refused).rejects.toThrow(/standby.*connect to the primary/);
  expect(await run(standby, { dryRun: true, limits })).toMatchObject({
    result: 'DryRun',
    rows: 6,
    operations: cleanupOperations.map((name) => ({ name })),
  });
  expect(await statistics(standby)).toMatchObject({
    recordCounts: { instructions: { rows: 5 } },
    due: { sessions: 1 },
  });
  expect(await countOf(standby.pool, 'agentinstruction')).toBe(5);
});
