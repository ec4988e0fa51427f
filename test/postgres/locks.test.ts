import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
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
import { run } from '../support/retention.ts';

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
async function hold(rows: string): Promise<void> {
  await holder.query('begin');
  await holder.query(`select from agentinstruction where ${rows} for update`);
}

describe.each(['list', 'keyset', 'blocks'] as const)(
  'a row that another transaction has locked, in a walk by %s,',
  (walk) => {
    test('is passed over, tried again, and reported as skipped when it is still locked', async () => {
      await addInstructions(database.pool, 5);
      await hold('id = 2');
      const result = await run(database, { operations: ['instructions'], walk, limits: { lockTimeout: '50ms' } });
      expect(result).toMatchObject({ result: 'Succeeded', rows: 4, operations: [{ deleted: 4, skipped: 1 }] });
      expect(result.operations[0]?.message).toMatch(
        /^1 rows were locked by others and are left for the next run; locks on .* are held by process/,
      );
      expect(await countOf(database.pool, 'agentinstruction', 'id = 2')).toBe(1);
    });

    test('is changed by the same run when it is released in time', async () => {
      await addInstructions(database.pool, 5);
      await hold('id = 2');
      const result = run(database, { operations: ['instructions'], walk, limits: { lockTimeout: '30s' } });
      await blocks(database, await pidOf(holder));
      expect(await countOf(database.pool, 'agentinstruction')).toBe(1);
      await holder.query('rollback');
      expect(await result).toMatchObject({ operations: [{ deleted: 5, skipped: 0, batches: 2 }] });
    });

    test('is taken by the next run', async () => {
      await addInstructions(database.pool, 5);
      await hold('id = 2');
      await run(database, { operations: ['instructions'], walk, limits: { lockTimeout: '50ms' } });
      await holder.query('rollback');
      expect(await run(database, { operations: ['instructions'], walk })).toMatchObject({ rows: 1 });
      expect(await countOf(database.pool, 'agentinstruction')).toBe(0);
    });

    test('does not end the walk, even when whole batches are locked', async () => {
      await addInstructions(database.pool, 30);
      await hold('id <= 20');
      const result = await run(database, {
        operations: ['instructions'],
        walk,
        retention: { batchSize: 10 },
        limits: { lockTimeout: '1ms' },
      });
      expect(result.operations).toMatchObject([{ deleted: 10, skipped: 20, batches: 1 }]);
      const { rows } = await database.pool.query(
        'select count(*)::int as count, max(id) as last from agentinstruction',
      );
      expect(rows).toEqual([{ count: 20, last: 20 }]);
    });
  },
);

test('in a walk by blocks a locked acknowledgement is skipped, and all the others of its blocks are deleted', async () => {
  await addOldAcknowledgements(database.pool, await addInstruction(database.pool), 25);
  await holder.query('begin');
  await holder.query('select from agentinstructionacknowledgement limit 1 for key share');
  const limits = { lockTimeout: '60ms' };
  const result = await run(database, { operations: ['acknowledgements'], walk: 'blocks', limits });
  expect(result).toMatchObject({ result: 'Succeeded', operations: [{ deleted: 24, skipped: 1 }] });
  expect(await countOf(database.pool, 'agentinstructionacknowledgement')).toBe(1);
});

test('a table that is locked for longer than lockTimeout fails its operation and no other', async () => {
  await addInstruction(database.pool);
  await addConnection(database.pool);
  await holder.query('begin');
  await holder.query('lock table agentinstruction in access exclusive mode');
  const result = await run(database, { limits: { lockTimeout: '50ms' } });
  expect(result).toMatchObject({
    result: 'Partial',
    operations: [{ name: 'connections', closed: 1 }, { name: 'instructions' }, { name: 'sessions', archived: 2 }, {}],
  });
  expect(result.operations[1]?.error).toMatch(/locked for longer than limits\.lockTimeout.*the next run tries again/);
  expect(result.message).toMatch(/instructions failed/);
});

describe.each(['list', 'keyset'] as const)('a walk by %s', (walk) => {
  test.each([
    [1, 7, 7],
    [4, 25, 7],
    [5, 25, 5],
    [500, 25, 1],
  ])('in batches of %i takes %i rows of the very same time in %i batches', async (batchSize, rows, batches) => {
    await addInstructions(database.pool, rows);
    expect(await run(database, { operations: ['instructions'], walk, retention: { batchSize } })).toMatchObject({
      rows,
      operations: [{ deleted: rows, batches, skipped: 0 }],
    });
    expect(await countOf(database.pool, 'agentinstruction')).toBe(0);
  });

  test('takes acknowledgements of the very same time, whose keys are in no order', async () => {
    await addOldAcknowledgements(database.pool, await addInstruction(database.pool), 25);
    expect(await run(database, { operations: ['acknowledgements'], walk, retention: { batchSize: 4 } })).toMatchObject({
      operations: [{ deleted: 25, batches: 7 }],
    });
    expect(await countOf(database.pool, 'agentinstructionacknowledgement')).toBe(0);
  });

  test('archives all sessions in batches, and none twice', async () => {
    await addSessions(database.pool, 25);
    const options = { operations: ['sessions'], walk, retention: { batchSize: 4 } } as const;
    expect(await run(database, options)).toMatchObject({ operations: [{ archived: 25, batches: 7 }] });
    expect(await run(database, options)).toMatchObject({ operations: [{ archived: 0, batches: 0 }] });
  });
});
