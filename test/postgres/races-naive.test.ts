import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { acknowledge, addConnection, addInstruction, countOf, emptyTables, stateOf } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { blocks, pidOf } from '../support/postgres/sessions.ts';

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
  afterEach(() => writer.end());
  afterAll(() => database?.drop());

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
      await writer.query('update agentconnection set last_heartbeat_at = now() where id = $1', [connection]);
      const locked = database.pool.query(form);
      await blocks(database, await pidOf(writer));
      await writer.query('commit');
      return (await locked).rowCount;
    };
    expect(await taken(forms.subselect)).toBe(1);
    expect(await taken(forms.oneLevel)).toBe(0);
  });
});
