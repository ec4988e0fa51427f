import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { acknowledge, addInstruction, emptyTables, stateOf } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { createHalt, withHalt } from '../support/postgres/moments.ts';
import { blocks, expectNothingLeft, pausing, pidOf } from '../support/postgres/sessions.ts';
import { connector, intercepting, run } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

const foreignKeyViolation = '23503';

describe.each(['cascade', 'no-action'] as const)('with foreign keys %s', (template) => {
  let database: TestDatabase;
  let writer: Client;
  let holder: Client;

  beforeAll(async () => {
    database = await createDatabase({ template });
    [writer, holder] = [await database.client(), await database.client()];
    await createHalt(holder);
  });
  beforeEach(() => emptyTables(database.pool));
  afterEach(() => expectNothingLeft(database));
  afterAll(() => database?.drop());

  const removeAcknowledgements = () => writer.query('delete from agentinstructionacknowledgement');

  describe.each(['keyset', 'blocks'] as const)('along the %s', (walk) => {
    const operations = ['instructions'] as const;

    test('an acknowledgement that comes while its instruction is being locked, and goes, is not taken for a trigger', async () => {
      const instruction = await addInstruction(database.pool);
      let halted = false;
      const connect = intercepting(database.url, async (text, client) => {
        if (statements.lookAgain.test(text)) await removeAcknowledgements();
        if (halted || !statements.lock.test(text)) return text;
        halted = true;
        await holder.query('begin');
        await holder.query('select pg_advisory_xact_lock(1)');
        client.once('notice', () => acknowledge(writer, instruction).then(() => holder.query('commit')));
        return withHalt(text);
      });
      expect(await run(database, { operations, walk, connect })).toMatchObject({
        result: 'Succeeded',
        operations: [{ deleted: 1, archived: 0, skipped: 0 }],
      });
      expect(await stateOf(database.pool, instruction)).toBe('deleted');
    });

    test('an acknowledgement that goes before its instruction is archived is not taken for a trigger', async () => {
      for (const each of [await addInstruction(database.pool), await addInstruction(database.pool)]) {
        await acknowledge(database.pool, each);
      }
      let removed = false;
      const connect = intercepting(database.url, async (text) => {
        if (!removed && statements.archiveInstructions.test(text)) {
          removed = true;
          await removeAcknowledgements();
        }
        return text;
      });
      // Along the keyset they were locked, and so decided about, before.
      expect(await run(database, { operations, walk, connect })).toMatchObject({
        result: 'Succeeded',
        operations: [walk === 'keyset' ? { deleted: 0, archived: 2 } : { deleted: 2, archived: 0 }],
      });
      expect(await run(database, { operations, walk })).toMatchObject({ rows: walk === 'keyset' ? 2 : 0 });
    });

    /** A run that waits for its instruction, which somebody else holds locked, at its second try. */
    async function retried(instruction: string, connect = connector(database.url)) {
      await holder.query('begin');
      await holder.query('select from agentinstruction where instruction_id = $1 for update', [instruction]);
      const result = run(database, { operations, walk, connect, limits: { lockTimeout: '60s' } });
      await blocks(database, await pidOf(holder));
      return { result };
    }

    test('an insert that comes after the lock of the second try waits, and gets a foreign-key error', async () => {
      const instruction = await addInstruction(database.pool);
      const { connect, reached, resume } = pausing(connector(database.url), statements.deleteInstructions);
      const { result } = await retried(instruction, connect);
      await holder.query('rollback');
      const [batch, inserter] = [await reached, await pidOf(writer)];
      const insert = acknowledge(writer, instruction).then(
        () => 'inserted',
        (error: { code?: string }) => error.code,
      );
      expect(await blocks(database, batch)).toBe(inserter);
      resume();
      expect(await insert).toBe(foreignKeyViolation);
      expect(await result).toMatchObject({ operations: [{ deleted: 1, archived: 0, skipped: 0 }] });
    });

    test('an acknowledgement committed before the lock of the second try is granted survives with its instruction', async () => {
      const instruction = await addInstruction(database.pool);
      const { result } = await retried(instruction);
      await acknowledge(holder, instruction);
      await holder.query('commit');
      expect(await result).toMatchObject({ operations: [{ deleted: 0, archived: 1, skipped: 0 }] });
      expect(await stateOf(database.pool, instruction)).toBe('archived with 1 acknowledgements');
    });
  });
});
