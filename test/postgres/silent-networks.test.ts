import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Silence } from '../../src/database/silence.ts';
import { addInstructions, countOf, emptyTables } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { type FreezingProxy, startFreezingProxy } from '../support/freezing-proxy.ts';
import { recordingLog } from '../support/log.ts';
import { createDatabase } from '../support/postgres/database.ts';
import { startPgbouncer } from '../support/postgres/pgbouncer.ts';
import { expectNothingLeft, pausing, runLockHolders } from '../support/postgres/sessions.ts';
import { StatementProxy } from '../support/postgres/statement-proxy.ts';
import { connector, intercepting, type RunOverrides, run, statistics } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

// What a NAT or a load balancer does that forgets a flow: nothing arrives any more, and neither side hears of it.
const { deleteInstructions } = statements;
/** A minute in small. */
const silence: Silence = { askAfterMs: 500, answerWithinMs: 3_000, idleMs: 6_000 };
/** Connections in the order in which a run opens them. */
const [lock, worker] = [1, 2];

const database = await createDatabase({ template: 'no-action' });
// Says in a loud line why not, where it cannot be had.
const pgbouncer = await startPgbouncer(database.url);
const ways: [string, string][] = [['directly', database.url]];
if (pgbouncer !== undefined) ways.push(['through pgbouncer in transaction mode', pgbouncer.url]);
let proxy: FreezingProxy;

/** The proxy is before the server or before pgbouncer. */
async function startProxy(url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  proxy = await startFreezingProxy({ host: hostname, port: Number(port) });
}

beforeEach(async () => {
  await emptyTables(database.pool);
  await startProxy(database.url);
});
afterEach(async () => {
  proxy.stop();
  await expectNothingLeft(database);
});
afterAll(async () => {
  await pgbouncer?.stop();
  await database.drop();
});

/** Starts a run by way of the proxy that stands before a statement. */
function pausedRun(statement: Pick<RegExp, 'test'>, overrides: RunOverrides = {}) {
  const paused = pausing(connector(proxy.through(database.url)), statement);
  return { ...paused, result: run(database, { connect: paused.connect, silence, ...overrides }) };
}

/** The session that held the lock ends by the server's own doing, since nothing tells it that its client has gone. */
async function nextRunGetsTheLock(): Promise<void> {
  expect(await run(database, { runLockWaitMs: 30_000 })).toMatchObject({ result: 'Succeeded' });
  expect(await countOf(database.pool, 'agentinstruction')).toBe(0);
}

describe('a flow that is dropped in silence', () => {
  test.each([
    ['before a batch begins', statements.lock],
    ['before the commit', /^commit$/],
    ['between transactions', /^begin isolation level read committed/],
  ])('%s, costs the run nothing but time', async (_, statement) => {
    await addInstructions(database.pool, 5);
    let reads = 0;
    // Of the transactions only the batch's own changes anything; the lock's is the first that is not read only.
    const matches = { test: (sql: string) => statement.test(sql) && (++reads > 1 || !/^begin|^commit/.test(sql)) };
    const { reached, resume, result } = pausedRun(matches);
    await reached;
    proxy.drop((connection) => connection === worker);
    resume();
    expect(await result).toMatchObject({
      result: 'Succeeded',
      operations: [{}, { deleted: 5, skipped: 0 }, { archived: 1 }, {}],
    });
    expect(await countOf(database.pool, 'agentinstruction')).toBe(0);
  });

  test('with the answer to the commit, is counted once', async () => {
    await addInstructions(database.pool, 5);
    let [deleting, dropped] = [false, false];
    const statementProxy = await StatementProxy.start(database.url, {
      after({ sql }) {
        deleting ||= deleteInstructions.test(sql);
        if (dropped || !deleting || sql !== 'commit') return undefined;
        dropped = true;
        return new Promise(() => {});
      },
    });
    try {
      const connect = connector(statementProxy.through(database.url));
      expect(await run(database, { connect, silence })).toMatchObject({
        result: 'Succeeded',
        operations: [{}, { deleted: 5, skipped: 0 }, {}, {}],
      });
      expect(dropped).toBe(true);
    } finally {
      statementProxy.stop();
    }
  });

  test('of the lock, stops the run, and the next one gets the lock', async () => {
    await addInstructions(database.pool, 5);
    const { reached, resume, result } = pausedRun(deleteInstructions, { retention: { batchSize: 2 } });
    await reached;
    proxy.drop((connection) => connection === lock);
    await eventually('the server ends the session of the lock', async () => {
      return (await runLockHolders(database)).length === 0;
    });
    resume();
    expect(await result).toMatchObject({
      result: 'Partial',
      message: expect.stringMatching(/connection that holds the run.s lock was lost/),
    });
    await nextRunGetsTheLock();
  });

  test('with all others, stops the run without its maxDuration, and the next one gets the lock', async () => {
    await addInstructions(database.pool, 5);
    const { reached, resume, result } = pausedRun(deleteInstructions, { cancelAfterMs: 500 });
    await reached;
    proxy.drop();
    resume();
    expect(await result).toMatchObject({ result: 'Partial' });
    await nextRunGetsTheLock();
  });

  test('during a dry run or statistics, costs them nothing but time', async () => {
    await addInstructions(database.pool, 5);
    const dry = pausedRun(/^select \(select count/, { dryRun: true });
    await dry.reached;
    proxy.drop();
    dry.resume();
    expect(await dry.result).toMatchObject({ result: 'DryRun', operations: [{}, { deleted: 5 }, {}, {}] });
    const counting = pausing(connector(proxy.through(database.url)), /^select count/);
    const figures = statistics(database, { connect: counting.connect, silence });
    await counting.reached;
    proxy.drop();
    counting.resume();
    expect(await figures).toMatchObject({ recordCounts: { instructions: { rows: 5 } } });
  });
});

describe.each(ways)('%s', (way, url) => {
  beforeEach(async () => {
    proxy.stop();
    await startProxy(url);
  });
  // pgbouncer keeps its sessions.
  afterEach(() =>
    way === 'directly'
      ? undefined
      : database.pool.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and starts_with(application_name, 'retention test')`,
        ),
  );

  test('a network that is dead altogether ends the run, and the next one gets the lock', async () => {
    await addInstructions(database.pool, 5);
    const { reached, resume, result } = pausedRun(deleteInstructions, { cancelAfterMs: 500 });
    await reached;
    proxy.freeze();
    resume();
    expect(await result).toMatchObject({ result: 'Partial', rows: 0 });
    await nextRunGetsTheLock();
  });

  test('a flow that is dropped in the middle of a batch costs the run nothing but time', async () => {
    await addInstructions(database.pool, 5);
    const { reached, resume, result } = pausedRun(deleteInstructions);
    await reached;
    proxy.drop((connection) => connection === worker);
    resume();
    expect(await result).toMatchObject({
      result: 'Succeeded',
      operations: [{}, { deleted: 5, skipped: 0 }, { archived: 1 }, {}],
    });
  });
});

test.each([
  ['', ''],
  [', even where its session does not show', '-c track_activities=off'],
])('a statement that takes its time is not taken for a lost one%s', async (_, options) => {
  await addInstructions(database.pool, 5);
  const { log, lines } = recordingLog();
  const url = new URL(database.url);
  if (options !== '') url.searchParams.set('options', options);
  const slow = intercepting(url.href, (sql) =>
    deleteInstructions.test(sql)
      ? `with slow as (select pg_catalog.pg_sleep(4)) ${sql} and exists (select from slow)`
      : sql,
  );
  expect(await run(database, { connect: slow, silence, log })).toMatchObject({
    result: 'Succeeded',
    operations: [{}, { deleted: 5 }, {}, {}],
  });
  expect(lines.filter(({ level }) => level === 'warn')).toEqual([]);
});

describe.skipIf(pgbouncer === undefined)('a pooler that has no room is not taken for a dead network:', () => {
  /** As many as a run has itself. */
  const two = 'default_pool_size = 2';
  const impatient: Silence = { ...silence, answerWithinMs: 1_000 };

  /** A run by way of a pooler of its own; before the statement that takes its time, or waits for its turn. */
  async function pooledRun(setting: string, before: (sql: string, pooled: string) => string | Promise<string>) {
    const small = (await startPgbouncer(database.url, setting))!;
    try {
      await addInstructions(database.pool, 5);
      const { log, lines } = recordingLog();
      const connect = intercepting(small.url, (sql) => before(sql, small.url));
      expect(await run(database, { connect, silence: impatient, log })).toMatchObject({
        result: 'Succeeded',
        operations: [{}, { deleted: 5 }, {}, {}],
      });
      expect(lines.filter(({ level }) => level === 'warn')).toEqual([]);
    } finally {
      await small.stop();
    }
  }

  test.each([two, 'max_client_conn = 2'])('%s, while a statement takes its time', (setting) =>
    pooledRun(setting, (sql) =>
      deleteInstructions.test(sql)
        ? `with slow as (select pg_catalog.pg_sleep(5)) ${sql} and exists (select from slow)`
        : sql,
    ),
  );

  test.each([
    ['the lock', 1, 2],
    ['a batch', 3, 1],
  ])('others have its sessions when %s begins', async (_, which, others) => {
    let begun = 0;
    const theirs: Promise<unknown>[] = [];
    await pooledRun(two, async (sql, pooled) => {
      // Of the transactions, the second is the plan's.
      if (!/^begin/.test(sql) || ++begun !== which) return sql;
      for (let i = 0; i < others; i++) {
        const other = await connector(pooled)();
        await other.query('select');
        theirs.push(other.query('select pg_sleep(7)').finally(() => other.end()));
      }
      return sql;
    });
    await Promise.all(theirs);
  });
});

test('a connection ends even where the goodbye is never answered', async () => {
  const client = await connector(proxy.through(database.url))();
  proxy.drop();
  await client.end();
});

test('the server is told to look after a client that has gone, for each transaction alone', async () => {
  const names = ['tcp_keepalives_idle', 'tcp_user_timeout', 'client_connection_check_interval'];
  names.push('idle_in_transaction_session_timeout');
  const seen: string[][] = [];
  const open = connector(database.url);
  const settings = `select ${names.map((name) => `pg_catalog.current_setting('${name}')`).join(` || ',' || `)} as now`;
  const outside = await database.pool.query<{ now: string }>(settings);
  await addInstructions(database.pool, 1);
  const result = await run(database, {
    async connect(abandon) {
      const client = await open(abandon);
      const query = client.query.bind(client) as unknown as (
        ...args: unknown[]
      ) => Promise<{ rows: { now: string }[] }>;
      client.query = (async (sql: string, ...rest: unknown[]) => {
        if (/pg_try_advisory|^delete from/.test(sql)) seen.push((await query(settings)).rows[0]!.now.split(','));
        return query(sql, ...rest);
      }) as unknown as typeof client.query;
      return client;
    },
  });
  expect(result.result).toBe('Succeeded');
  expect(seen.length).toBeGreaterThan(1);
  const checks = process.platform === 'linux' ? '10s' : '0';
  for (const values of seen) expect(values).toEqual(['15', '30000', checks, '45s']);
  expect((await database.pool.query<{ now: string }>(settings)).rows).toEqual(outside.rows);
});
