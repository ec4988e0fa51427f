import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addConnection, addInstructions, countOf, emptyTables } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { startFreezingProxy } from '../support/freezing-proxy.ts';
import { recordingLog } from '../support/log.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { loadSchema } from '../support/postgres/schema.ts';
import { blocks, expectNothingLeft, pausing, pidOf, runLockHolders } from '../support/postgres/sessions.ts';
import { connector, type RunOverrides, run } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

const { deleteInstructions } = statements;

let database: TestDatabase;
let holder: Client;

beforeAll(async () => {
  database = await createDatabase({ template: 'no-action' });
});
beforeEach(async () => {
  await emptyTables(database.pool);
  holder = await database.client();
});
afterEach(async () => {
  await holder.end();
  await expectNothingLeft(database);
});
afterAll(() => database?.drop());

/** Starts a run that waits before a statement, with a log and a way to stop it. */
function pausedRun(statement: RegExp, overrides: RunOverrides = {}) {
  const paused = pausing(connector(database.url), statement);
  const { log, lines } = recordingLog();
  const stop = new AbortController();
  const result = run(database, { connect: paused.connect, log, signal: stop.signal, ...overrides });
  const logged = (message: string) =>
    eventually(`the run logs: ${message}`, async () => lines.some((line) => line.message === message));
  return { ...paused, result, stop, logged };
}

async function terminate(pid: number): Promise<void> {
  await database.pool.query('select pg_terminate_backend($1)', [pid]);
}

describe('two runs at once on one database and schema', () => {
  test('the second waits and is then Skipped, the first goes on unharmed', async () => {
    await addInstructions(database.pool, 5);
    const first = pausedRun(deleteInstructions);
    await first.reached;
    const second = await run(database, { runLockWaitMs: 200 });
    expect(second).toMatchObject({ result: 'Skipped', rows: 0, operations: [] });
    expect(second.message).toMatch(/another run .* for 0\.2 s; nothing was changed/);
    expect(await countOf(database.pool, 'agentinstruction')).toBe(5);
    first.resume();
    expect(await first.result).toMatchObject({ result: 'Succeeded', operations: [{}, { deleted: 5 }, {}, {}] });
  });

  test('the second goes on when the first ends in time', async () => {
    await addInstructions(database.pool, 5);
    const first = pausedRun(deleteInstructions);
    await first.reached;
    const second = run(database, { connect: connector(database.url, 'retention test second'), runLockWaitMs: 30_000 });
    await eventually('the second run waits', () => sessions('retention test second'));
    first.resume();
    expect(await first.result).toMatchObject({ result: 'Succeeded', rows: 6 });
    expect(await second).toMatchObject({ result: 'Succeeded', rows: 0, operations: [{}, {}, {}, {}] });
  });

  test('runs on different schemas of one database do not wait for each other', async () => {
    await holder.query('create schema other');
    await holder.query('set search_path to other');
    await loadSchema(holder, 'no-action');
    try {
      await addInstructions(holder, 5);
      await addInstructions(database.pool, 5);
      const first = pausedRun(deleteInstructions);
      await first.reached;
      const second = await run(database, { schema: 'other', runLockWaitMs: 0 });
      expect(second).toMatchObject({ result: 'Succeeded', operations: [{}, { deleted: 5 }, {}, {}] });
      first.resume();
      expect(await first.result).toMatchObject({ result: 'Succeeded', operations: [{}, { deleted: 5 }, {}, {}] });
    } finally {
      await holder.query('drop schema other cascade');
    }
  });

  async function sessions(name: string): Promise<boolean> {
    return (await countOf(database.pool, 'pg_stat_activity', `application_name = '${name}'`)) > 0;
  }
});

test('a run whose lock is lost stops before its next batch', async () => {
  await addInstructions(database.pool, 5);
  const { reached, resume, result, logged } = pausedRun(deleteInstructions, { retention: { batchSize: 2 } });
  await reached;
  for (const pid of await runLockHolders(database)) await terminate(pid);
  await logged('stopping');
  resume();
  expect(await result).toMatchObject({ result: 'Partial', rows: 2, operations: [{}, { deleted: 2, batches: 1 }] });
  expect((await result).message).toMatch(/the connection that holds the run.s lock was lost/);
  expect(await countOf(database.pool, 'agentinstruction')).toBe(3);
});

describe('a run that is told to stop', () => {
  const reason = 'SIGTERM received';

  test('finishes its batch and begins no other', async () => {
    await addInstructions(database.pool, 5);
    const { reached, resume, result, stop } = pausedRun(deleteInstructions, { retention: { batchSize: 2 } });
    await reached;
    stop.abort(reason);
    resume();
    expect(await result).toMatchObject({
      result: 'Partial',
      message: `stopped: ${reason}`,
      operations: [{ name: 'connections' }, { name: 'instructions', deleted: 2, batches: 1, message: 'not finished' }],
    });
    expect(await countOf(database.pool, 'agentinstruction')).toBe(3);
  });

  test('cancels a statement that goes on for too long, and its batch is rolled back', async () => {
    await addInstructions(database.pool, 5);
    await slowDeletes(async () => {
      const { reached, resume, result, stop } = pausedRun(/^delete from/, {
        cancelAfterMs: 2_000, // 1.2 s later the connection is given up: time enough to cancel on a busy machine
        limits: { statementTimeout: '24h' },
      });
      const batch = await reached;
      resume();
      await eventually('the delete is under way', () => inSleep(batch));
      stop.abort(reason);
      expect(await result).toMatchObject({
        result: 'Partial',
        message: `stopped: ${reason}`,
        operations: [{}, { name: 'instructions', deleted: 0, batches: 0, message: 'not finished' }],
      });
      expect((await result).operations[1]?.error).toBeUndefined();
    });
    expect(await countOf(database.pool, 'agentinstruction')).toBe(5);
  });

  test('does not wait to try again what was interrupted, be it a batch or the counting before it', async () => {
    await addInstructions(database.pool, 5);
    for (const statement of [/^select \(select count/, deleteInstructions]) {
      const { reached, resume, result, stop, logged } = pausedRun(statement, { retryPausesMs: [3_600_000] });
      await terminate(await reached);
      resume();
      await logged('a transaction is tried again');
      stop.abort(reason);
      expect(await result).toMatchObject({ result: 'Partial', message: `stopped: ${reason}` });
    }
    expect(await countOf(database.pool, 'agentinstruction')).toBe(5);
  });

  test('gives up a locked row that it waits for', async () => {
    await addInstructions(database.pool, 5);
    await holder.query('begin');
    await holder.query('select from agentinstruction where id in (2, 3) for update');
    const stop = new AbortController();
    // Not so soon that on a busy machine it also meets the flush of what was committed.
    const result = run(database, { signal: stop.signal, limits: { lockTimeout: '1h' }, cancelAfterMs: 1_000 });
    await blocks(database, await pidOf(holder));
    stop.abort(reason);
    expect(await result).toMatchObject({
      result: 'Partial',
      operations: [{}, { deleted: 3, message: 'not finished' }],
    });
  });

  test('while it counts what is due changes nothing, however many tables it would have to wait for', async () => {
    await addConnection(database.pool);
    await holder.query('begin');
    await holder.query('lock table agentconnection, agentinstruction, agentsession in access exclusive mode');
    const stop = new AbortController();
    const result = run(database, { signal: stop.signal, limits: { lockTimeout: '1h' }, cancelAfterMs: 100 });
    await blocks(database, await pidOf(holder));
    stop.abort(reason);
    expect(await result).toMatchObject({ result: 'Partial', rows: 0, message: `stopped: ${reason}` });
    await holder.query('rollback');
    expect(await countOf(database.pool, 'agentconnection', `status = 'active'`)).toBe(1);
  });

  test('in a dry run ends as Partial too', async () => {
    await holder.query('begin');
    await holder.query('lock table agentconnection, agentinstruction in access exclusive mode');
    const stop = new AbortController();
    const result = run(database, {
      signal: stop.signal,
      dryRun: true,
      limits: { lockTimeout: '1h' },
      cancelAfterMs: 100,
    });
    await blocks(database, await pidOf(holder));
    stop.abort(reason);
    expect(await result).toMatchObject({ result: 'Partial', message: `stopped: ${reason}` });
  });

  test.each(['before it starts', 'while it waits'])('%s, does not wait for another run', async (when) => {
    await addInstructions(database.pool, 5);
    const first = pausedRun(deleteInstructions);
    await first.reached;
    const stop = new AbortController();
    if (when === 'before it starts') stop.abort(reason);
    const connect = connector(database.url, 'retention test second');
    const second = run(database, { connect, signal: stop.signal, runLockWaitMs: 60_000 });
    if (when === 'while it waits') {
      await eventually('the second run waits', () => has('retention test second'));
      stop.abort(reason);
    }
    expect(await second).toMatchObject({ result: 'Partial', rows: 0, message: `stopped: ${reason}` });
    await expectNothingLeftOf('retention test second');
    first.resume();
    expect(await first.result).toMatchObject({ result: 'Succeeded' });
  });

  async function has(name: string): Promise<boolean> {
    return (await countOf(database.pool, 'pg_stat_activity', `application_name = '${name}'`)) > 0;
  }

  function expectNothingLeftOf(name: string): Promise<boolean> {
    return eventually(`${name} has no session left`, async () => !(await has(name)));
  }
});

test('a run ends itself at maxDuration, and says so and where', async () => {
  await addInstructions(database.pool, 5);
  await holder.query('begin');
  await holder.query('select from agentinstruction where id = 2 for update');
  const limits = { lockTimeout: '1h', maxDuration: '8s' };
  const result = await run(database, { limits, cancelAfterMs: 2_000 });
  expect(result).toMatchObject({
    result: 'Partial',
    message: 'stopped: maxDuration 8s is over, the next run goes on',
    operations: [{ name: 'connections' }, { name: 'instructions', deleted: 4, message: 'not finished' }],
  });
});

test('a statement that takes longer than statementTimeout fails its operation with advice, and no other', async () => {
  await addInstructions(database.pool, 5);
  await slowDeletes(async () => {
    const { operations, result } = await run(database, { limits: { statementTimeout: '5s' } });
    expect(result).toBe('Partial');
    expect(operations).toMatchObject([{}, { name: 'instructions', deleted: 0 }, { name: 'sessions', archived: 1 }, {}]);
    expect(operations[1]?.error).toMatch(/limits\.statementTimeout; raise it, or lower batchSize/);
  });
  expect(await countOf(database.pool, 'agentinstruction')).toBe(5);
});

/** While `work` runs, deleting an instruction does not come to an end. */
async function slowDeletes(work: () => Promise<void>): Promise<void> {
  await database.pool.query(`
    create function sleep() returns trigger language plpgsql as 'begin perform pg_sleep(3600); return old; end';
    create trigger sleep before delete on agentinstruction for each row execute function sleep()`);
  try {
    await work();
  } finally {
    // One that sleeps on would keep this file's tests from their tables.
    await database.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`,
    );
    await database.pool.query('drop function sleep() cascade');
  }
}

async function inSleep(pid: number): Promise<boolean> {
  return (await countOf(database.pool, 'pg_stat_activity', `pid = ${pid} and wait_event = 'PgSleep'`)) === 1;
}

describe('a network that dies silently does not keep a run beyond its stop', () => {
  const limits = { maxDuration: '8s' };

  test('in the middle of a batch', async () => {
    const { hostname, port } = new URL(database.url);
    const proxy = await startFreezingProxy({ host: hostname, port: Number(port) });
    try {
      await addInstructions(database.pool, 2);
      const url = new URL(database.url);
      url.host = `127.0.0.1:${proxy.port}`;
      const paused = pausing(connector(url.href), deleteInstructions);
      const result = run(database, { connect: paused.connect, limits, cancelAfterMs: 200 });
      await paused.reached;
      proxy.freeze();
      paused.resume();
      expect(await result).toMatchObject({ result: 'Partial', rows: 0 });
    } finally {
      proxy.stop();
    }
  });

  test('while it connects', async () => {
    const proxy = await startFreezingProxy({ host: '127.0.0.1', port: 9 });
    try {
      proxy.freeze();
      const url = new URL(database.url);
      url.host = `127.0.0.1:${proxy.port}`;
      const result = await run(database, {
        connect: connector(url.href),
        limits: { maxDuration: '1s' },
        cancelAfterMs: 200,
      });
      expect(result).toMatchObject({ result: 'Partial', message: expect.stringContaining('maxDuration 1s is over') });
    } finally {
      proxy.stop();
    }
  });
});
