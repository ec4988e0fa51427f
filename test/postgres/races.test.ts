import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { acknowledge, addConnection, addInstruction, countOf, emptyTables, stateOf } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { blocks, expectNothingLeft, pausing, pidOf } from '../support/postgres/sessions.ts';
import { connector, run } from '../support/retention.ts';
import { following, statements } from '../support/statements.ts';

const { look, lock, deleteInstructions, archiveInstructions, closeConnections } = statements;

const foreignKeyViolation = '23503';

describe.each(['cascade', 'no-action'] as const)('with foreign keys %s', (template) => {
  let database: TestDatabase;
  let writer: Client;

  beforeAll(async () => {
    database = await createDatabase({ template });
  });
  beforeEach(async () => {
    await emptyTables(database.pool);
    writer = await database.client();
  });
  afterEach(async () => {
    await writer.end();
    await expectNothingLeft(database);
  });
  afterAll(() => database?.drop());

  /** Starts a run of one operation that waits before `statement`. */
  function pausedRun(operation: 'instructions' | 'connections', statement: Pick<RegExp, 'test'>) {
    const paused = pausing(connector(database.url), statement);
    return { ...paused, result: run(database, { operations: [operation], walk: 'keyset', connect: paused.connect }) };
  }

  describe('an acknowledgement insert that is open when its instruction is to be locked', () => {
    async function openInsert() {
      const [acknowledged, other] = [await addInstruction(database.pool), await addInstruction(database.pool)];
      await writer.query('begin');
      await acknowledge(writer, acknowledged);
      const result = run(database, { operations: ['instructions'], limits: { lockTimeout: '30s' } });
      await blocks(database, await pidOf(writer));
      expect(await stateOf(database.pool, other), 'the other was not kept waiting').toBe('deleted');
      return { acknowledged, result };
    }

    test('has it passed over, tried again at the end, and archived once the insert is committed', async () => {
      const { acknowledged, result } = await openInsert();
      await writer.query('commit');
      expect((await result).operations).toMatchObject([{ archived: 1, deleted: 1, skipped: 0 }]);
      expect(await stateOf(database.pool, acknowledged)).toBe('archived with 1 acknowledgements');
    });

    test('has it passed over, tried again at the end, and deleted once the insert is rolled back', async () => {
      const { acknowledged, result } = await openInsert();
      await writer.query('rollback');
      expect((await result).operations).toMatchObject([{ archived: 0, deleted: 2, skipped: 0 }]);
      expect(await stateOf(database.pool, acknowledged)).toBe('deleted');
    });
  });

  test.each([
    ['before the batch is looked for', look],
    ['between look and lock', lock],
  ])('an acknowledgement committed %s survives with its instruction', async (_, statement) => {
    const instruction = await addInstruction(database.pool);
    const { reached, resume, result } = pausedRun('instructions', statement);
    await reached;
    await acknowledge(writer, instruction);
    resume();
    expect(await result).toMatchObject({ result: 'Succeeded', operations: [{ archived: 1, deleted: 0 }] });
    expect(await stateOf(database.pool, instruction)).toBe('archived with 1 acknowledgements');
  });

  describe.each([
    ['before the look for acknowledgements that deletes', () => deleteInstructions],
    ['after the delete', () => following(deleteInstructions)],
  ])('an acknowledgement insert that comes after the lock, %s', (_, statement) => {
    /** An insert while the batch has its instruction locked; returns when it waits for the batch. */
    async function lateInsert(instruction: string) {
      const { reached, resume, result } = pausedRun('instructions', statement());
      const [batch, inserter] = [await reached, await pidOf(writer)];
      const insert = acknowledge(writer, instruction).then(
        () => 'inserted',
        (error: { code?: string }) => error.code,
      );
      expect(await blocks(database, batch)).toBe(inserter);
      resume();
      return { insert: await insert, result: await result };
    }

    test('waits for the batch and gets a foreign-key error when the instruction has been deleted', async () => {
      const instruction = await addInstruction(database.pool);
      const { insert, result } = await lateInsert(instruction);
      expect(result).toMatchObject({ operations: [{ archived: 0, deleted: 1 }] });
      expect(insert).toBe(foreignKeyViolation);
      expect(await stateOf(database.pool, instruction)).toBe('deleted');
    });
  });

  test.each([
    ['before the update', () => archiveInstructions],
    ['after the update', () => following(archiveInstructions)],
  ])('an acknowledgement insert for an instruction that is being archived, %s, need not wait', async (_, statement) => {
    const instruction = await addInstruction(database.pool);
    await acknowledge(database.pool, instruction);
    const { reached, resume, result } = pausedRun('instructions', statement());
    await reached;
    await acknowledge(writer, instruction);
    resume();
    expect(await result).toMatchObject({ operations: [{ archived: 1, deleted: 0 }] });
    expect(await stateOf(database.pool, instruction)).toBe('archived with 2 acknowledgements');
  });

  // What the two statements of a batch prevent: one statement keeps the snapshot it began with, however long it waits.
  describe.each([
    [
      'delete where not exists',
      `delete from agentinstruction i
        where i.created_at < now() - interval '7 days' and i.status = 'completed'
          and not exists (select from agentinstructionacknowledgement a where a.instruction_id = i.instruction_id)`,
    ],
    [
      'lock and delete in one statement',
      `with batch as (
         select i.id, i.instruction_id from agentinstruction i
          where i.created_at < now() - interval '7 days' and i.status = 'completed'
            for update)
       delete from agentinstruction i using batch b
        where i.id = b.id
          and not exists (select from agentinstructionacknowledgement a where a.instruction_id = b.instruction_id)`,
    ],
  ])('the naive form "%s"', (_, statement) => {
    async function race() {
      const [acknowledged, other] = [await addInstruction(database.pool), await addInstruction(database.pool)];
      await writer.query('begin');
      await acknowledge(writer, acknowledged);
      const outcome = database.pool.query(statement).then(
        ({ rowCount }) => `deleted ${rowCount}`,
        (error: { code?: string }) => error.code,
      );
      await blocks(database, await pidOf(writer));
      await writer.query('commit');
      return { acknowledged, other, outcome: await outcome };
    }

    if (template === 'cascade') {
      test('loses the acknowledgement that was committed before it', async () => {
        const { acknowledged, outcome } = await race();
        expect(outcome).toBe('deleted 2');
        expect(await stateOf(database.pool, acknowledged)).toBe('deleted');
        expect(await countOf(database.pool, 'agentinstructionacknowledgement')).toBe(0);
      });
    } else {
      test('fails as a whole because of one acknowledgement', async () => {
        const { other, outcome } = await race();
        expect(outcome).toBe(foreignKeyViolation);
        expect(await stateOf(database.pool, other)).toBe('kept with 0 acknowledgements');
      });
    }
  });

  test.each([
    ['before the batch is looked for', look],
    ['between look and lock', lock],
  ])('an instruction whose status changes %s stays', async (_, statement) => {
    const instruction = await addInstruction(database.pool);
    const { reached, resume, result } = pausedRun('instructions', statement);
    await reached;
    await writer.query(`update agentinstruction set status = 'pending' where instruction_id = $1`, [instruction]);
    resume();
    expect(await result).toMatchObject({ result: 'Succeeded', rows: 0, operations: [{ batches: 0, skipped: 0 }] });
    expect(await stateOf(database.pool, instruction)).toBe('kept with 0 acknowledgements');
  });

  const heartbeat = `update agentconnection set last_heartbeat_at = now() where id = $1 and status = 'active'`;

  test.each([
    ['before the batch is looked for', look],
    ['between look and lock', lock],
  ])('a connection whose heartbeat moves %s stays active', async (_, statement) => {
    const connection = await addConnection(database.pool);
    const { reached, resume, result } = pausedRun('connections', statement);
    await reached;
    await writer.query(heartbeat, [connection]);
    resume();
    expect(await result).toMatchObject({ result: 'Succeeded', rows: 0, operations: [{ closed: 0, skipped: 0 }] });
    expect(await countOf(database.pool, 'agentconnection', `status = 'active'`)).toBe(1);
  });

  test('a connection whose heartbeat is being written stays active, and is not counted as skipped', async () => {
    const [connection] = [await addConnection(database.pool), await addConnection(database.pool)];
    await writer.query('begin');
    await writer.query(heartbeat, [connection]);
    const result = run(database, { operations: ['connections'], limits: { lockTimeout: '30s' } });
    await blocks(database, await pidOf(writer));
    await writer.query('commit');
    expect(await result).toMatchObject({ result: 'Succeeded', operations: [{ closed: 1, skipped: 0 }] });
    const { rows } = await database.pool.query(`select id from agentconnection where status = 'active'`);
    expect(rows).toEqual([{ id: connection }]);
  });

  test('a heartbeat that comes after the lock waits, and finds the connection closed', async () => {
    const connection = await addConnection(database.pool);
    const { reached, resume, result } = pausedRun('connections', closeConnections);
    const [batch, agent] = [await reached, await pidOf(writer)];
    const late = writer.query(heartbeat, [connection]);
    expect(await blocks(database, batch)).toBe(agent);
    resume();
    expect(await result).toMatchObject({ operations: [{ closed: 1 }] });
    expect((await late).rowCount).toBe(0);
  });

  test('a lock around a subselect takes a connection whose heartbeat has just moved; at one query level it does not', async () => {
    const due = `status = 'active' and last_heartbeat_at < now() - interval '4 hours'`;
    const forms = {
      subselect: `select id from agentconnection
         where id in (select id from agentconnection where ${due} order by last_heartbeat_at, id limit 10) for update`,
      oneLevel: `select id from agentconnection where ${due} order by last_heartbeat_at, id limit 10 for update`,
    };
    const taken = async (form: string) => {
      await emptyTables(database.pool);
      const connection = await addConnection(database.pool);
      await writer.query('begin');
      await writer.query(heartbeat, [connection]);
      const locked = database.pool.query(form);
      await blocks(database, await pidOf(writer));
      await writer.query('commit');
      return (await locked).rowCount;
    };
    expect(await taken(forms.subselect)).toBe(1);
    expect(await taken(forms.oneLevel)).toBe(0);
  });
});
