import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CleanupOperation } from '../../src/api/spec.ts';
import {
  addConnection,
  addInstruction,
  addInstructions,
  addOldAcknowledgements,
  addSessions,
  countOf,
  emptyTables,
} from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { blocks, expectNothingLeft, pidOf } from '../support/postgres/sessions.ts';
import { intercepting, run } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

// What comes of due rows that another transaction keeps locked for as long as the run lasts.

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

/** Locks rows as an application's transaction does, until it ends. */
async function hold(table: string, rows = 'true'): Promise<void> {
  await holder.query('begin');
  await holder.query(`select from ${table} where ${rows} for update`);
}

const limits = { lockTimeout: '1ms' };

/** A way to make rows due, for each operation. */
const kinds: [CleanupOperation, table: string, add: () => Promise<unknown>][] = [
  ['connections', 'agentconnection', () => addConnection(database.pool)],
  ['instructions', 'agentinstruction', () => addInstructions(database.pool, 10)],
  ['sessions', 'agentsession', () => addSessions(database.pool, 3)],
  [
    'acknowledgements',
    'agentinstructionacknowledgement',
    async () => addOldAcknowledgements(database.pool, await addInstruction(database.pool), 4),
  ],
];

describe.each(kinds)('a run of %s whose due rows are all locked', (operation, table, add) => {
  test('did nothing of what was due: it is Partial, and says how many rows and who holds locks', async () => {
    await add();
    await hold(table);
    const due = await countOf(database.pool, table);
    const result = await run(database, { operations: [operation], limits });
    expect(result).toMatchObject({ result: 'Partial', rows: 0, operations: [{ skipped: due }] });
    const holding = `locks on "public"."${table}" are held by process ${await pidOf(holder)}`;
    expect(result.message).toContain(`${operation}: none of the rows due was changed`);
    expect(result.message).toContain(`${due} rows were locked by others`);
    expect(result.message).toContain(holding);
    await holder.query('rollback');
    expect(await run(database, { operations: [operation], limits })).toMatchObject({ result: 'Succeeded', rows: due });
  });
});

test('one operation that did nothing of what was due makes the run Partial, and the others do theirs', async () => {
  await addInstructions(database.pool, 10);
  await addConnection(database.pool);
  await hold('agentinstruction');
  const result = await run(database, { limits });
  expect(result).toMatchObject({
    result: 'Partial',
    operations: [{ closed: 1, skipped: 0 }, { deleted: 0, skipped: 10 }, { archived: 2, skipped: 0 }, {}],
  });
});

test('a run with some rows left has Succeeded, and its operation says how many', async () => {
  await addInstructions(database.pool, 10);
  await hold('agentinstruction', 'id <= 4');
  const result = await run(database, { operations: ['instructions'], limits });
  expect(result).toMatchObject({ result: 'Succeeded', operations: [{ deleted: 6, skipped: 4 }] });
  expect(result.message ?? '').not.toContain('locked');
  expect(result.operations[0]!.message).toMatch(/^4 rows were locked by others and are left for the next run/);
});

test('a run with nothing due has Succeeded, whoever holds locks', async () => {
  await addSessions(database.pool, 1);
  await hold('agentsession');
  expect(await run(database, { operations: ['instructions'], limits })).toMatchObject({ result: 'Succeeded', rows: 0 });
});

test('a forgotten prepared transaction is named', async ({ skip }) => {
  const { rows } = await database.pool.query<{ max_prepared_transactions: string }>('show max_prepared_transactions');
  if (rows[0]!.max_prepared_transactions === '0') skip('this server takes no prepared transactions');
  await addInstructions(database.pool, 10);
  await hold('agentinstruction');
  const name = `${database.name} it's`;
  await holder.query(`prepare transaction ${holder.escapeLiteral(name)}`);
  try {
    const result = await run(database, { operations: ['instructions'], limits });
    expect(result).toMatchObject({ result: 'Partial', operations: [{ skipped: 10 }] });
    expect(result.message).toContain(
      `locks on "public"."agentinstruction" are held by prepared transaction ${holder.escapeLiteral(name)}, open since 20`,
    );
  } finally {
    await holder.query(`rollback prepared ${holder.escapeLiteral(name)}`);
  }
});

/** Runs, and counts the statements that lock rows: those that wait for locked ones, and those that pass them over. */
async function countedRun(overrides: Parameters<typeof run>[1]) {
  const counts = { waits: 0, passes: 0 };
  const connect = intercepting(database.url, (sql) => {
    if (statements.retry.test(sql)) counts.waits += 1;
    if (statements.lock.test(sql)) counts.passes += 1;
    return sql;
  });
  return { result: await run(database, { connect, ...overrides }), ...counts };
}

describe.each(['list', 'keyset', 'blocks'] as const)('rows locked by others, in a walk by %s,', (walk) => {
  test.each([
    ['instructions', 40, (rows: number) => addInstructions(database.pool, rows)],
    ['instructions', 1_800, (rows: number) => addInstructions(database.pool, rows)],
    ['sessions', 40, (rows: number) => addSessions(database.pool, rows)],
    [
      'acknowledgements',
      1_800,
      async (rows: number) => addOldAcknowledgements(database.pool, await addInstruction(database.pool), rows),
    ],
  ] as const)('%s, %i of them, are waited for together, and later operations run', async (operation, rows, add) => {
    await add(rows);
    await addConnection(database.pool);
    const table = kinds.find(([name]) => name === operation)![1];
    await hold(table);
    const due = await countOf(database.pool, table);
    const { result, waits, passes } = await countedRun({ walk, limits: { lockTimeout: '20ms' } });
    const of = (name: CleanupOperation) => result.operations.find((each) => each.name === name)!;
    expect(of(operation)).toMatchObject({ skipped: due, batches: 0 });
    expect(waits).toBeLessThanOrEqual(2);
    expect(passes).toBeLessThanOrEqual(40);
    expect(of('connections')).toMatchObject({ closed: 1 });
    if (operation === 'instructions') expect(of('sessions').archived).toBeGreaterThan(0);
  });
});

describe('rows locked by others', () => {
  /** The due instructions 1 to 40; `holder` has the first half locked, `other` the second. */
  async function heldByTwo(): Promise<Client> {
    await addInstructions(database.pool, 40);
    await hold('agentinstruction', 'id <= 20');
    const other = await database.client();
    await other.query('begin; select from agentinstruction where id > 20 for update');
    return other;
  }

  test('are all taken once they are released while the run waits for one, but for those that have gone', async () => {
    const other = await heldByTwo();
    await holder.query('delete from agentinstruction where id between 5 and 9');
    const counted = countedRun({ operations: ['instructions'], limits: { lockTimeout: '60s' } });
    await blocks(database, await pidOf(holder));
    await other.end();
    await holder.query('commit');
    const { result, waits } = await counted;
    expect(result).toMatchObject({ result: 'Succeeded', operations: [{ deleted: 35, skipped: 0 }] });
    expect(waits).toBeLessThanOrEqual(2);
  });

  test('are taken if they are released while the run waits in vain for another', async () => {
    const other = await heldByTwo();
    const counted = countedRun({ operations: ['instructions'], limits: { lockTimeout: '5s' } });
    await blocks(database, await pidOf(holder));
    await other.end();
    const { result } = await counted;
    expect(result).toMatchObject({ result: 'Succeeded', operations: [{ deleted: 20, skipped: 20 }] });
    expect(await countOf(database.pool, 'agentinstruction', 'id > 20')).toBe(0);
  });
});
