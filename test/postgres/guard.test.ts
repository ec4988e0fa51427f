import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { checksums } from '../support/data/checksum.ts';
import { filledDatabase, instant } from '../support/data/filled.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { type RunOverrides, run } from '../support/retention.ts';

let database: TestDatabase;

/** Fails unless the run is blocked, by this sentence, without a change; a dry run must say the same. */
async function expectBlocked(overrides: RunOverrides, sentence: string): Promise<void> {
  const client = await database.client();
  const before = await checksums(client);
  const dry = await run(database, { instant, ...overrides, dryRun: true });
  expect(dry.result).toBe('DryRun');
  expect(dry.message).toContain(`a real run would be Blocked: ${sentence}`);
  const blocked = await run(database, { instant, ...overrides });
  expect(blocked).toMatchObject({ result: 'Blocked', rows: 0, operations: [] });
  expect(blocked.message).toBe(
    `${sentence}. Nothing was changed. If that many are meant to go, raise spec.guard (by hand, in a file for --file); otherwise check the periods of the policy`,
  );
  expect(await checksums(client)).toEqual(before);
}

async function expectAllowed(overrides: RunOverrides): Promise<void> {
  const dry = await run(database, { instant, ...overrides, dryRun: true });
  expect(dry.message).toBeUndefined();
  expect(await run(database, { instant, ...overrides })).toMatchObject({ result: 'Succeeded' });
}

describe('guard.maxRowsPerRun', () => {
  afterEach(() => database?.drop());

  test('counts what is deleted or archived in all operations, and not closed connections', async () => {
    database = await filledDatabase('no-action');
    const dry = await run(database, { instant, dryRun: true });
    const [connections, ...others] = dry.operations.map((o) => (o.archived ?? 0) + (o.deleted ?? 0) + (o.closed ?? 0));
    expect(connections).toBeGreaterThan(0);
    const total = others.reduce((sum, rows) => sum + rows, 0);
    const number = new Intl.NumberFormat('en-US');
    const [instructions, sessions, acknowledgements] = others.map((rows) => number.format(rows));
    await expectBlocked(
      { guard: { maxRowsPerRun: total - 1 } },
      `${number.format(total)} rows are due to be deleted or archived (instructions ${instructions}, sessions ${sessions}, acknowledgements ${acknowledgements}), more than guard.maxRowsPerRun ${number.format(total - 1)}`,
    );
    await expectAllowed({ guard: { maxRowsPerRun: total } });
  });

  test('counts the run’s own operations only', async () => {
    database = await filledDatabase('cascade');
    const { rows } = await run(database, { instant, operations: ['sessions'], dryRun: true });
    await expectAllowed({ operations: ['connections', 'sessions'], guard: { maxRowsPerRun: rows } });
  });
});

describe('guard.maxPercentOfTable', () => {
  beforeAll(async () => {
    database = await createDatabase({ template: 'no-action' });
  });
  afterAll(() => database?.drop());

  /** Makes `due` of `all` sessions, instructions and acknowledgements due, and every connection. */
  async function share(due: number, all: number): Promise<void> {
    const client = await database.client();
    await client.query('truncate agentsession, agentinstruction, agentconnection, agentinstructionacknowledgement');
    const time = `case when n <= ${due} then timestamp '2001-01-01' else '2026-11-23' end`;
    const numbers = `from generate_series(1, ${all}) n`;
    await client.query(
      `insert into agentsession (session_id, agent_id, status, ended_at, experimental_parameters)
       select n::text, 'agent', 'completed', ${time}, '{"dose": 1}' ${numbers}`,
    );
    await client.query(
      `insert into agentconnection (connection_id, session_id, agent_id, last_heartbeat_at)
       select n::text, n::text, 'agent', '2001-01-01' ${numbers}`,
    );
    await client.query(
      `with made as (
         insert into agentinstruction (session_id, agent_id, instruction_type, status, created_at)
         select n::text, 'agent', 'move', 'completed', ${time} ${numbers} returning *
       )
       insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status, created_at)
       select instruction_id, 'agent', session_id, 'received', created_at from made`,
    );
  }

  const blocked: ['instructions' | 'sessions' | 'acknowledgements', due: number, all: number, limit: number, string][] =
    [
      ['instructions', 51, 100, 50, '51 of 100 rows (51%)'],
      ['sessions', 51, 100, 50, '51 of 100 rows (51%)'],
      ['acknowledgements', 51, 100, 50, '51 of 100 rows (51%)'],
      ['sessions', 1, 3, 33, '1 of 3 rows (33.3%)'],
      ['instructions', 1, 1, 99, '1 of 1 rows (100%)'],
      ['acknowledgements', 12, 1_100, 1, '12 of 1,100 rows (1.1%)'],
    ];
  test.each(blocked)('%s: %i of %i due is over a limit of %i', async (name, due, all, maxPercentOfTable, count) => {
    await share(due, all);
    await expectBlocked(
      { operations: [name], guard: { maxPercentOfTable } },
      `${name}: ${count} are due to be deleted or archived, more than guard.maxPercentOfTable ${maxPercentOfTable}`,
    );
  });

  test.each([
    [50, 100, 50],
    [1, 3, 34],
    [11, 1_100, 1],
    [7, 7, 100],
    [0, 10, 1],
  ])('%i of %i due in every table is not over a limit of %i', async (due, all, maxPercentOfTable) => {
    await share(due, all);
    await expectAllowed({ guard: { maxPercentOfTable } });
  });

  test('one table over the limit blocks the operations on all others', async () => {
    await share(20, 100);
    const client = await database.client();
    await client.query(`update agentsession set ended_at = '2001-01-01'`);
    await expectBlocked(
      { guard: { maxPercentOfTable: 20 } },
      'sessions: 100 of 100 rows (100%) are due to be deleted or archived, more than guard.maxPercentOfTable 20',
    );
    await expectAllowed({ operations: ['connections', 'instructions'], guard: { maxPercentOfTable: 20 } });
  });

  test('every connection may be closed', async () => {
    await share(0, 10);
    const result = await run(database, { instant, guard: { maxRowsPerRun: 1, maxPercentOfTable: 1 } });
    expect(result).toMatchObject({ result: 'Succeeded', rows: 10, operations: [{ closed: 10 }, {}, {}, {}] });
  });
});
