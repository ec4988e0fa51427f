import { Client } from 'pg';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checksums } from '../support/data/checksum.ts';
import { addInstructions, countOf, emptyTables } from '../support/data/due-rows.ts';
import { generate } from '../support/data/generator.ts';
import { eventually } from '../support/eventually.ts';
import { createDatabase } from '../support/postgres/database.ts';
import { startPgbouncer } from '../support/postgres/pgbouncer.ts';
import { blocks, pausing, pidOf, runLockHolders } from '../support/postgres/sessions.ts';
import { connector, run, statistics } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

const database = await createDatabase({ template: 'no-action' });
// Says in a loud line why not, where it cannot be had.
const pgbouncer = await startPgbouncer(database.url);
afterAll(async () => {
  await pgbouncer?.stop();
  await database.drop();
});

/** Settings that a run makes for its transactions. */
const settings = `select name, setting from pg_settings
  where name in ('TimeZone', 'DateStyle', 'row_security', 'search_path', 'lock_timeout', 'statement_timeout',
    'idle_in_transaction_session_timeout', 'transaction_timeout', 'default_transaction_isolation',
    'default_transaction_read_only')
  order by name`;

const ways: [string, string][] = [['directly', database.url]];
if (pgbouncer !== undefined) ways.push(['through pgbouncer in transaction mode', pgbouncer.url]);

describe.each(ways)('%s', (_, url) => {
  beforeEach(() => emptyTables(database.pool));

  afterEach(async () => {
    await eventually('runs leave no transaction and no lock behind', async () => {
      const open = `datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'`;
      const holders = await runLockHolders(database);
      return holders.length === 0 && (await countOf(database.pool, 'pg_stat_activity', open)) === 0;
    });
    expect(await settingsOfPooledSessions()).toEqual(await settingsOfFreshSession());
  });

  test('a full cleanup does what the dry run said, and statistics find nothing due after it', async () => {
    await generate(await database.client(), { instructions: 2000, sessions: 50 });
    const client = await database.client();
    const before = await checksums(client);
    const dry = await run({ url }, { dryRun: true });
    expect(dry.result).toBe('DryRun');
    expect(await checksums(client)).toEqual(before);
    const real = await run({ url }, { retention: { batchSize: 100 } });
    expect(real).toMatchObject({ result: 'Succeeded', rows: dry.rows });
    expect(real.rows).toBeGreaterThan(1000);
    const { due } = await statistics({ url });
    // Those whose acknowledgements have just gone are due again, to be deleted.
    expect(due).toMatchObject({ sessions: 0, connections: 0, acknowledgements: 0 });
  });

  test('a second run waits and is Skipped', async () => {
    await addInstructions(database.pool, 5);
    const first = pausing(connector(url), statements.deleteInstructions);
    const result = run({ url }, { connect: first.connect });
    await first.reached;
    expect(await run({ url }, { runLockWaitMs: 100 })).toMatchObject({ result: 'Skipped', operations: [] });
    first.resume();
    expect(await result).toMatchObject({ result: 'Succeeded', rows: 6 });
  });

  test('a run that is told to stop cancels its own statement', async () => {
    await addInstructions(database.pool, 5);
    const holder = await database.client();
    await holder.query('begin');
    await holder.query('select from agentinstruction where id = 2 for update');
    try {
      const stop = new AbortController();
      const result = run({ url }, { signal: stop.signal, cancelAfterMs: 1_000, limits: { lockTimeout: '1h' } });
      await blocks(database, await pidOf(holder));
      stop.abort('SIGTERM received');
      expect(await result).toMatchObject({
        result: 'Partial',
        operations: [{}, { deleted: 4, message: 'not finished' }],
      });
    } finally {
      await holder.query('rollback');
    }
  });

  test('a run whose lock connection is killed stops before its next batch', async () => {
    await addInstructions(database.pool, 5);
    const paused = pausing(connector(url), statements.deleteInstructions);
    const noticed = Promise.withResolvers<void>();
    const log = { debug() {}, info() {}, warn: () => noticed.resolve(), error() {} };
    const result = run({ url }, { connect: paused.connect, log, retention: { batchSize: 2 } });
    await paused.reached;
    for (const pid of await runLockHolders(database)) {
      await database.pool.query('select pg_terminate_backend($1)', [pid]);
    }
    await noticed.promise;
    paused.resume();
    expect(await result).toMatchObject({ result: 'Partial', operations: [{}, { deleted: 2, batches: 1 }] });
  });

  /** Settings of as many sessions at once as a pool may have opened for runs; the same for all. */
  async function settingsOfPooledSessions(): Promise<unknown> {
    const clients = Array.from({ length: 4 }, () => new Client({ connectionString: url }));
    try {
      await Promise.all(clients.map((client) => client.connect()));
      await Promise.all(clients.map((client) => client.query('begin')));
      const answers = await Promise.all(clients.map((client) => client.query(settings)));
      const different = new Set(answers.map(({ rows }) => JSON.stringify(rows)));
      expect(different.size).toBe(1);
      return answers[0]?.rows;
    } finally {
      await Promise.all(clients.map((client) => client.query('rollback').then(() => client.end())));
    }
  }

  async function settingsOfFreshSession(): Promise<unknown> {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    try {
      return (await client.query(settings)).rows;
    } finally {
      await client.end();
    }
  }
});
