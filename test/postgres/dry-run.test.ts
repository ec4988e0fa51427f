import { afterEach, describe, expect, test } from 'vitest';
import { effectiveRetention } from '../../src/api/effective.ts';
import type { RunResult } from '../../src/api/run-result.ts';
import { cleanupOperations } from '../../src/api/spec.ts';
import { acquireRunLock } from '../../src/database/run-lock.ts';
import { countQuery } from '../../src/retention/count.ts';
import type { Query } from '../../src/retention/explain.ts';
import { instructions } from '../../src/retention/instructions.ts';
import { tablesIn } from '../../src/retention/tables.ts';
import { agentTables, checksums } from '../support/data/checksum.ts';
import { filledDatabase, instant } from '../support/data/filled.ts';
import type { TestDatabase } from '../support/postgres/database.ts';
import { connector, intercepting, noKeys, type RunOverrides, run, statistics } from '../support/retention.ts';

let database: TestDatabase;
afterEach(() => database?.drop());

/** What a dry run and a real one must agree on. */
const said = ({ rows, operations, policy }: RunResult) => ({
  rows,
  policy,
  operations: operations.map(({ name, cutoff, closed, archived, deleted }) => ({
    name,
    cutoff,
    closed,
    archived,
    deleted,
  })),
});

const statuses = { sessions: ['ended'], instructions: ['acknowledged', 'sent', 'expired'] };
const cases: [what: string, variant: 'cascade' | 'no-action' | 'older', overrides: RunOverrides][] = [
  ['ScientificCompliance', 'cascade', { preset: 'ScientificCompliance' }],
  ['Development', 'no-action', { preset: 'Development' }],
  ['Custom, older schema', 'older', { preset: 'Custom' }],
  ['statuses of its own', 'no-action', { retention: { statuses } }],
  ['acknowledgements by name', 'cascade', { operations: ['acknowledgements'], ignoreAuditTrailGate: true }],
  ['columns in London time', 'cascade', { timestampTimeZone: 'Europe/London', retention: { batchSize: 17 } }],
];

test.each(cases)('a dry run writes nothing and tells the counts of the real run: %s', async (_what, variant, given) => {
  database = await filledDatabase(variant);
  const client = await database.client();
  const before = await checksums(client);
  const dry = await run(database, { ...given, instant, dryRun: true });
  expect(dry).toMatchObject({ result: 'DryRun', operations: dry.operations.map(() => ({ batches: 0, skipped: 0 })) });
  expect(await checksums(client)).toEqual(before);
  const real = await run(database, { ...given, instant });
  expect(real.result).toBe('Succeeded');
  expect(said(real)).toEqual(said(dry));
  expect(dry.rows).toBeGreaterThan(0);
  expect(await checksums(client)).not.toEqual(before);
});

test('a dry run after a real one finds what a second run would do', async () => {
  database = await filledDatabase('no-action');
  await run(database, { instant });
  const dry = await run(database, { instant, dryRun: true });
  expect(said(await run(database, { instant }))).toEqual(said(dry));
  expect(await run(database, { instant, dryRun: true })).toMatchObject({ result: 'DryRun', rows: 0 });
});

describe.each(['cascade', 'no-action', 'older'] as const)(
  'instructions are counted all at once as step by step: %s',
  (variant) => {
    const cutoff = '2026-11-09 10:20:30.123456';
    const retention = effectiveRetention({ preset: 'Development', retention: {} });
    const operation = instructions({ tables: tablesIn('public'), retention, instant, keys: noKeys }, cutoff);

    const some = expect.stringMatching(/^[1-9]/);

    async function counts(queries: Query[]) {
      const client = await database.client();
      const results = await Promise.all(queries.map(({ text, values }) => client.query(text, values)));
      return Object.assign({}, ...results.map(({ rows }) => rows[0]));
    }
    const atOnce = () => counts([{ text: operation.countTogether!, values: [...operation.dueParameters] }]);
    const stepByStep = () => counts(operation.steps.map((step) => countQuery(operation, step)));

    test('in a backlog, and where archived ones have lost their acknowledgements', async () => {
      database = await filledDatabase(variant);
      expect(await atOnce()).toEqual(await stepByStep());
      expect(await atOnce()).toMatchObject({ deleted: some, archived: some });
      await run(database, { instant, preset: 'Development' });
      expect(await atOnce()).toEqual(await stepByStep());
      expect(await atOnce()).toMatchObject({ deleted: some, archived: '0' });
    });
  },
);

describe('a dry run takes no locks', () => {
  test('it passes sessions that hold every row, and tables that nobody else may change', async () => {
    database = await filledDatabase('no-action');
    const open = await run(database, { instant, dryRun: true });
    const other = await database.client();
    await other.query('begin');
    for (const table of agentTables) {
      await other.query(`lock table ${table} in exclusive mode`);
      await other.query(`select from ${table} for update`);
    }
    const dry = await run(database, { instant, dryRun: true, limits: { lockTimeout: '1ms' } });
    expect(said(dry)).toEqual(said(open));
    await other.query('rollback');
  });

  test('it does not wait for a run that is under way', async () => {
    database = await filledDatabase('no-action');
    const lock = await acquireRunLock(connector(database.url), 'public', 1, new AbortController().signal);
    try {
      expect(await run(database, { instant, dryRun: true, runLockWaitMs: 1 })).toMatchObject({ result: 'DryRun' });
      expect(await run(database, { instant, runLockWaitMs: 1 })).toMatchObject({ result: 'Skipped', rows: 0 });
    } finally {
      await lock!.release();
    }
  });
});

test('where everything is read-only, dry run and statistics work, and a real run says what to do', async () => {
  database = await filledDatabase('no-action');
  const client = await database.client();
  const before = await checksums(client);
  await client.query(
    `alter database ${client.escapeIdentifier(database.name)} set default_transaction_read_only to on`,
  );
  const dry = await run(database, { instant, dryRun: true });
  expect(dry).toMatchObject({ result: 'DryRun', operations: cleanupOperations.map((name) => ({ name })) });
  expect(await statistics(database)).toMatchObject({ recordCounts: { instructions: { rows: 2_000 } } });
  const real = await run(database, { instant });
  expect(real).toMatchObject({ result: 'Failed', rows: 0 });
  for (const { error } of real.operations) expect(error).toMatch(/read-only transaction.*connect to the primary/);
  expect(await checksums(client)).toEqual(before);
});

test('a dry run of one snapshot does not see what others commit meanwhile', async () => {
  database = await filledDatabase('no-action');
  const other = await database.client();
  const quiet = await run(database, { instant, dryRun: true, preset: 'Development' });
  let committed = false;
  const connect = intercepting(database.url, async (sql) => {
    // Right after the first count, another session takes away all that is due.
    if (!committed && /as archived/.test(sql)) {
      committed = true;
      await other.query('delete from agentinstructionacknowledgement');
      await other.query('delete from agentinstruction');
    }
    return sql;
  });
  const dry = await run(database, { instant, dryRun: true, connect });
  expect(committed).toBe(true);
  expect(said(dry)).toEqual({ ...said(quiet), policy: effectiveRetention({ preset: 'Development' }) });
});
