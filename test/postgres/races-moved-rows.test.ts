import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addSession, countOf, emptyTables } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { momentsOf, recording } from '../support/postgres/moments.ts';
import { expectNothingLeft } from '../support/postgres/sessions.ts';
import { Stage } from '../support/races.ts';
import { intercepting, run } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

/** Rows of the table, five to a block; a batch is four blocks. */
const rows = 100;
const options = { operations: ['instructions'], walk: 'blocks', retention: { batchSize: 20 } } as const;

/** A new version of a row, for which its block has no room. */
const rewrite = (id: number, also = '') =>
  `update agentinstruction
      set instruction_metadata = to_jsonb(repeat(md5(id::text), 11)) ${also}
    where id = ${id}`;

describe.each(['cascade', 'no-action'] as const)(
  'with foreign keys %s, a row that moves while its blocks are walked',
  (template) => {
    let database: TestDatabase;
    let stage: Stage;

    beforeAll(async () => {
      database = await createDatabase({ template });
      await database.pool.query('alter table agentinstruction set (autovacuum_enabled = false)');
      stage = await Stage.create(database, 1);
    });
    beforeEach(() => emptyTables(database.pool));
    afterEach(() => expectNothingLeft(database));
    afterAll(() => database?.drop());

    /** Fills the table with instructions that are due, in the order of their ids, to be deleted or archived. */
    async function fill(fate: 'deleted' | 'archived'): Promise<void> {
      await database.pool.query(
        `insert into agentinstruction (session_id, agent_id, instruction_type, payload, status, created_at)
       select $1, 'agent', 'move', to_jsonb(repeat(md5(n::text), 43)), 'completed', now() - interval '100 years'
         from generate_series(1, $2::int) n`,
        [await addSession(database.pool), rows],
      );
      if (fate === 'archived') {
        await database.pool.query(
          `insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status)
         select instruction_id, agent_id, session_id, 'processed' from agentinstruction`,
        );
      }
      // Tells the planner, and so the walk, how many rows there are to a block.
      await database.pool.query('vacuum analyze agentinstruction');
    }

    async function blockOf(id: number): Promise<number> {
      const { rows } = await database.pool.query<{ block: string }>(
        `select trim(leading '(' from split_part(ctid::text, ',', 1)) as block from agentinstruction where id = $1`,
        [id],
      );
      return Number(rows[0]!.block);
    }

    /** How many rows are done with. */
    const done = async (fate: 'deleted' | 'archived') =>
      fate === 'deleted'
        ? rows - (await countOf(database.pool, 'agentinstruction'))
        : countOf(database.pool, 'agentinstruction', `payload -> 'archived' = 'true'`);

    describe.each(['deleted', 'archived'] as const)('and is due to be %s', (fate) => {
      /** Runs, and lets `act` happen before the run comes to the last blocks; whether it went on along the keyset. */
      async function actLate(act: () => Promise<void>) {
        let batches = 0;
        let looked = false;
        const connect = intercepting(database.url, async (text) => {
          looked ||= statements.list.test(text);
          if (statements.lock.test(text) && ++batches === 4) await act();
          return text;
        });
        return { result: await run(database, { ...options, connect }), alongKeyset: looked };
      }

      test('to a new block after the last is found along the keyset', async () => {
        await fill(fate);
        const { result, alongKeyset } = await actLate(async () => {
          await database.pool.query(rewrite(rows));
          expect(await blockOf(rows)).toBeGreaterThanOrEqual(20);
        });
        expect(result).toMatchObject({ result: 'Succeeded', operations: [{ [fate]: rows, skipped: 0 }] });
        expect(await done(fate)).toBe(rows);
        expect(alongKeyset).toBe(true);
      });

      /** A row of the first batch moves while the statement that locks the batch has its snapshot, and no row yet. */
      async function actInside(act: string) {
        await fill(fate);
        const { connect, trace } = recording(database.url);
        await run(database, { ...options, connect });
        const name = fate === 'deleted' ? 'inside the lock for update' : 'inside the update';
        const moment = momentsOf(trace).find((candidate) => candidate.name === name)!;
        await emptyTables(database.pool);
        await fill(fate);
        const { result } = await stage.race(options, moment, [act], 'at once');
        return result;
      }

      test('to another block while its batch is being locked is done with once', async () => {
        expect(await actInside(rewrite(1))).toMatchObject({
          result: 'Succeeded',
          operations: [{ [fate]: rows, skipped: 0 }],
        });
        expect(await done(fate)).toBe(rows);
      });

      test('to another block while its batch is being locked, and is no longer due, stays as it is', async () => {
        expect(await actInside(rewrite(1, `, status = 'pending'`))).toMatchObject({
          result: 'Succeeded',
          operations: [{ [fate]: rows - 1, skipped: 0 }],
        });
        expect(await done(fate)).toBe(rows - 1);
        expect(await blockOf(1)).toBeGreaterThanOrEqual(20);
      });
    });
  },
);
