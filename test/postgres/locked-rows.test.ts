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
import { expectNothingLeft, pidOf } from '../support/postgres/sessions.ts';
import { run } from '../support/retention.ts';

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
