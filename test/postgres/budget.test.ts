import { afterEach, describe, expect, test } from 'vitest';
import type { CleanupOperation } from '../../src/api/spec.ts';
import { acknowledge, addConnection, addInstructions, countOf } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { intercepting, type RunOverrides, run } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

// The guard counts once; what becomes due after that is not its word.

let database: TestDatabase;
afterEach(() => database?.drop());

/** A connector over which `sql` is run once, by somebody else, before the run's first statement of this form. */
function meanwhile(form: RegExp, sql: string): RunOverrides['connect'] {
  let done = false;
  return intercepting(database.url, async (text) => {
    if (!done && form.test(text)) {
      done = true;
      await database.pool.query(sql);
    }
    return text;
  });
}

const old = `now() - interval '100 years'`;
/** 5,000 rows of each table; the first is due, the others are once their status or age says so. */
const fill = `
  insert into agentsession (session_id, agent_id, status, created_at, ended_at, experimental_parameters)
  select n::text, 'agent', case when n = 1 then 'completed' else 'active' end, ${old}, ${old}, '{"dose": 1}'
    from generate_series(1, 5000) n;
  insert into agentinstruction (session_id, agent_id, instruction_type, status, created_at, payload)
  select '1', 'agent', 'move', case when n = 1 then 'expired' else 'sent' end, ${old}, '{"x": 1}'
    from generate_series(1, 5000) n;
  insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status, created_at)
  select instruction_id, 'agent', '1', 'processed', case when i.status = 'expired' then ${old} else now() end
    from agentinstruction i where $ACKNOWLEDGED;
  insert into agentconnection (connection_id, session_id, agent_id, status, last_heartbeat_at)
  select n::text, n::text, 'agent', 'active', case when n <= 101 then ${old} else now() end
    from generate_series(1, 5000) n;
  analyze`;

interface Case {
  operation: CleanupOperation;
  acknowledged: boolean;
  /** What makes the other 4,999 due, and the rows that the run has changed in the end. */
  late: string;
  changed: string;
}

const late = {
  instructions: `update agentinstruction set status = 'expired'`,
  sessions: `update agentsession set status = 'completed'`,
  acknowledgements: `update agentinstructionacknowledgement set created_at = ${old}`,
};
const cases: Case[] = [
  { operation: 'instructions', acknowledged: false, late: late.instructions, changed: 'deleted' },
  { operation: 'instructions', acknowledged: true, late: late.instructions, changed: 'archived' },
  { operation: 'sessions', acknowledged: false, late: late.sessions, changed: 'archived' },
  { operation: 'acknowledgements', acknowledged: true, late: late.acknowledgements, changed: 'deleted' },
];

describe.each(['list', 'keyset', 'blocks', undefined] as const)('by the walk %s', (walk) => {
  test.each(cases)(
    '1 row of $operation was due, 4,999 more ($changed) are by the time connections are closed: ten go, the run is Partial',
    async ({ operation, acknowledged, late, changed }) => {
      database = await createDatabase({ template: 'no-action' });
      await database.pool.query(fill.replace('$ACKNOWLEDGED', String(acknowledged)));
      const result = await run(database, {
        operations: ['connections', operation],
        walk,
        guard: { maxRowsPerRun: 10, maxPercentOfTable: 1 },
        connect: meanwhile(statements.closeConnections, late),
      });
      expect(result).toMatchObject({
        result: 'Partial',
        rows: 101 + 10,
        operations: [
          { name: 'connections', closed: 101 },
          { name: operation, [changed]: 10 },
        ],
      });
      expect(result.message).toContain(`${operation}: more rows became due while the run was at work`);
      expect(result.operations[1]!.message).toContain('1 was counted, and no more than 10 may be changed');
    },
  );

  test('connections that become due in thousands after the count are not closed', async () => {
    database = await createDatabase({ template: 'no-action' });
    await database.pool.query(fill.replace('$ACKNOWLEDGED', 'false'));
    const result = await run(database, {
      operations: ['connections'],
      walk,
      guard: { maxPercentOfConnections: 10 },
      connect: meanwhile(
        walk === 'blocks' ? statements.closeConnections : /order by t\.last_heartbeat_at/,
        `update agentconnection set last_heartbeat_at = ${old}`,
      ),
    });
    expect(await countOf(database.pool, 'agentconnection', `status = 'active'`)).toBe(5_000 - result.rows);
    // Along the blocks those that have moved behind the last one meanwhile are left for the next run.
    if (walk === 'blocks' && result.result === 'Succeeded') expect(result.rows).toBeLessThanOrEqual(500);
    else expect(result).toMatchObject({ result: 'Partial', rows: 500, operations: [{ closed: 500 }] });
  });

  test('a thousand more than a tenth above what was counted go where the guard would allow any number', async () => {
    database = await createDatabase({ template: 'no-action' });
    await database.pool.query(fill.replace('$ACKNOWLEDGED', 'false'));
    const result = await run(database, {
      operations: ['connections', 'instructions'],
      walk,
      connect: meanwhile(statements.closeConnections, late.instructions),
    });
    expect(result).toMatchObject({ result: 'Partial', operations: [{}, { deleted: 1_002 }] });
  });

  test('a few that become due meanwhile go too', async () => {
    database = await createDatabase({ template: 'no-action' });
    await addConnection(database.pool);
    await addInstructions(database.pool, 20);
    const more = await addInstructions(database.pool, 15);
    await database.pool.query(`update agentinstruction set status = 'sent' where instruction_id = any($1)`, [more]);
    for (const instruction of more.slice(0, 5)) await acknowledge(database.pool, instruction);
    const result = await run(database, {
      operations: ['connections', 'instructions'],
      walk,
      connect: meanwhile(statements.closeConnections, late.instructions),
    });
    expect(result).toMatchObject({ result: 'Succeeded', operations: [{ closed: 1 }, { deleted: 30 }] });
  });
});

test('what one operation takes beyond its count is not taken from what was counted for the next', async () => {
  database = await createDatabase({ template: 'no-action' });
  await database.pool.query(fill.replace('$ACKNOWLEDGED', 'false'));
  const result = await run(database, {
    operations: ['connections', 'instructions', 'sessions'],
    guard: { maxRowsPerRun: 10 },
    connect: meanwhile(statements.closeConnections, `${late.instructions}; ${late.sessions}`),
  });
  expect(result).toMatchObject({ result: 'Partial', operations: [{}, { deleted: 9 }, { archived: 1 }] });
});
