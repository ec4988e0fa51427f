import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  acknowledge,
  addConnection,
  addInstructions,
  addOldAcknowledgements,
  addSessions,
  countOf,
} from '../support/data/due-rows.ts';
import { fillWithKept } from '../support/data/kept.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { withClient } from '../support/postgres/server.ts';
import { run, statistics } from '../support/retention.ts';

// Rows that no run takes, however old they get: they are in a count of every run and of the statistics.

let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase({ template: 'no-action' });
});
afterEach(() => database?.drop());

const operationsOf = async (dryRun = false) => {
  const { operations, result } = await run(database, { dryRun });
  expect(result).toBe(dryRun ? 'DryRun' : 'Succeeded');
  return Object.fromEntries(operations.map((operation) => [operation.name, operation]));
};

describe('a run counts', () => {
  test('rows without the time that their age is counted from, of every table, and takes none of them', async () => {
    const { pool } = database;
    const [instruction] = await addInstructions(pool, 3);
    await addSessions(pool, 2);
    await addConnection(pool);
    await addOldAcknowledgements(pool, instruction!, 2);
    await pool.query(`
      alter table agentinstruction alter created_at drop not null;
      alter table agentconnection alter last_heartbeat_at drop not null;
      alter table agentinstructionacknowledgement alter created_at drop not null;
      update agentinstruction set created_at = null;
      update agentsession set ended_at = null;
      update agentconnection set last_heartbeat_at = null;
      update agentinstructionacknowledgement set created_at = null;
      -- Not undated: their status is not taken, or nothing of them is left to archive.
      insert into agentsession (session_id, agent_id, status, experimental_parameters)
      values ('running', 'a', 'active', '{"dose": 1}'), ('empty', 'a', 'completed', '{}')`);
    const sessions = await countOf(pool, 'agentsession', `status = 'completed' and experimental_parameters <> '{}'`);
    for (const dryRun of [true, false]) {
      expect(await operationsOf(dryRun)).toMatchObject({
        connections: { closed: 0, undated: 1 },
        instructions: { deleted: 0, archived: 0, undated: 3 },
        sessions: { archived: 0, undated: sessions },
        acknowledgements: { deleted: 0, undated: 2 },
      });
    }
    const { undated } = await statistics(database);
    expect(undated).toEqual({ connections: 1, instructions: 3, sessions, acknowledgements: 2 });
  });

  test('rows past their age in a status that it does not take, NULL included', async () => {
    const { pool } = database;
    await addInstructions(pool, 4);
    await pool.query(`
      alter table agentinstruction alter status drop not null;
      update agentsession set status = 'Completed';
      update agentinstruction set status = case id when 1 then 'done' when 2 then null else 'finished' end`);
    expect(await operationsOf()).toMatchObject({
      instructions: { deleted: 0, uncovered: 4, undated: 0 },
      sessions: { archived: 0, uncovered: 1 },
    });
    const { uncovered } = await statistics(database);
    expect(uncovered.instructions).toEqual([
      { status: 'finished', rows: 2 },
      { status: '(null)', rows: 1 },
      { status: 'done', rows: 1 },
    ]);
  });

  test('what earlier runs have archived, and not an application’s own key', async () => {
    const { pool } = database;
    for (const id of await addInstructions(pool, 3)) await acknowledge(pool, id);
    await pool.query(`update agentinstruction set payload = '{"archived": true}'`);
    await pool.query(`update agentsession set experimental_parameters = '{"archived": true}'`);
    expect(await operationsOf()).toMatchObject({
      instructions: { archived: 3, alreadyArchived: 0 },
      sessions: { archived: 1, alreadyArchived: 0 },
    });
    expect(await operationsOf()).toMatchObject({
      instructions: { archived: 0, alreadyArchived: 3 },
      sessions: { archived: 0, alreadyArchived: 1 },
    });
    expect((await statistics(database)).alreadyArchived).toEqual({ instructions: 3, sessions: 1 });
  });
});

test('where counting them would read much that is kept, a run leaves it to the statistics', async () => {
  await withClient(database.url, (client) => fillWithKept(client, 20_000));
  const { instructions } = await operationsOf(true);
  expect(instructions).not.toHaveProperty('uncovered');
  expect(instructions).not.toHaveProperty('alreadyArchived');
  expect(await statistics(database)).toMatchObject({
    alreadyArchived: { instructions: 20_000, sessions: 20_000 },
    undated: { instructions: 0, sessions: 0, connections: 0, acknowledgements: 0 },
  });
});
