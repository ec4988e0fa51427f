import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type CleanupOperation, guardSchema } from '../../src/api/spec.ts';
import { checksums } from '../support/data/checksum.ts';
import { filledDatabase, instant } from '../support/data/filled.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { type RunOverrides, run } from '../support/retention.ts';

let database: TestDatabase;
const number = new Intl.NumberFormat('en-US').format;

/** Fails unless the run is blocked, by this sentence, without a change; a dry run must say the same. */
async function expectBlocked(overrides: RunOverrides, sentence: string): Promise<void> {
  const client = await database.client();
  const before = await checksums(client);
  const dry = await run(database, { instant, ...overrides, dryRun: true });
  expect(dry.result).toBe('DryRun');
  expect(dry.message).toContain(`a real run would be Blocked: ${sentence}`);
  const blocked = await run(database, { instant, ...overrides });
  expect(blocked).toMatchObject({ result: 'Blocked', rows: 0, operations: [] });
  expect(blocked.message).toContain(sentence);
  expect(blocked.message).toContain(
    'Nothing was changed. If that many are meant to go, raise spec.guard (by hand, in a file for --file); otherwise check the periods of the policy',
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
    const [instructions, sessions, acknowledgements] = others.map((rows) => number(rows));
    await expectBlocked(
      { guard: { maxRowsPerRun: total - 1 } },
      `${number(total)} rows are due to be deleted or archived (instructions ${instructions}, sessions ${sessions}, acknowledgements ${acknowledgements}), more than guard.maxRowsPerRun ${number(total - 1)}`,
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
      ['instructions', 51, 100, 50, '51 of 100 rows with something to lose (51%)'],
      ['sessions', 51, 100, 50, '51 of 100 rows with something to lose (51%)'],
      ['acknowledgements', 51, 100, 50, '51 of 100 rows with something to lose (51%)'],
      ['sessions', 1, 3, 33, '1 of 3 rows with something to lose (33.3%)'],
      ['instructions', 1, 1, 99, '1 of 1 rows with something to lose (100%)'],
      ['acknowledgements', 12, 1_100, 1, '12 of 1,100 rows with something to lose (1.1%)'],
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
      'sessions: 100 of 100 rows with something to lose (100%) are due to be deleted or archived, more than guard.maxPercentOfTable 20',
    );
    await expectAllowed({ operations: ['connections', 'instructions'], guard: { maxPercentOfTable: 20 } });
  });

  test('does not count connections', async () => {
    await share(0, 10);
    const result = await run(database, { instant, guard: { maxRowsPerRun: 1, maxPercentOfTable: 1 } });
    expect(result).toMatchObject({ result: 'Succeeded', rows: 10, operations: [{ closed: 10 }, {}, {}, {}] });
  });
});

describe('years of archived rows do not make room for a mistake', () => {
  const defaults = guardSchema.parse({});
  beforeAll(async () => {
    database = await createDatabase({ template: 'no-action' });
    // Twenty of each a day for seven years; what is older than 366 days is archived.
    await database.pool.query(
      `insert into agentsession (session_id, agent_id, status, created_at, ended_at, experimental_parameters)
       select n::text, 'agent', case when n % 2 = 0 then 'completed' else 'error' end, time, time,
              case when n <= 6000 then '{"dose": 1}'::jsonb when n <= 7320 then null when n % 5 = 0 then '{}'
                   else '{"archived": true, "archived_at": "2025-11-23T00:00:00.000000Z", "parameter_count": 1}' end
         from generate_series(1, 51100) n
        cross join lateral (select timestamp '2026-11-23' - n * interval '72 minutes') t (time);
       insert into agentinstruction (session_id, agent_id, instruction_type, status, created_at, payload)
       select '1', 'agent', 'move', 'completed', timestamp '2026-11-23' - n * interval '72 minutes',
              case when n <= 7320 then '{"x": 1}'::jsonb
                   else '{"archived": true, "archived_at": "2025-11-23T00:00:00.000000Z"}' end
         from generate_series(1, 51100) n;
       insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status, created_at)
       select instruction_id, 'agent', '1', 'processed', created_at from agentinstruction;
       analyze`,
    );
  });
  afterAll(() => database?.drop());

  const mistakes: [string, RunOverrides['retention'], CleanupOperation[], string][] = [
    [
      'instructionRetentionDays 3',
      { instructionRetentionDays: 3 },
      ['instructions'],
      '7,269 of 7,320 rows with something to lose (99.3%)',
    ],
    [
      'completedSessionRetentionDays 2',
      { completedSessionRetentionDays: 2 },
      ['connections', 'sessions'],
      '5,969 of 6,000 rows with something to lose (99.5%)',
    ],
  ];
  test.each(mistakes)('%s is over the default guard', async (_, retention, operations, counts) => {
    await expectBlocked(
      { preset: 'ScientificCompliance', retention, operations, guard: defaults },
      `${operations.at(-1)}: ${counts} are due to be deleted or archived, more than guard.maxPercentOfTable 50`,
    );
  });

  test('a night is not, be it of archiving or of deleting what is left of archived instructions', async () => {
    const night: RunOverrides = {
      preset: 'ScientificCompliance',
      operations: ['instructions'],
      guard: defaults,
    };
    expect(await run(database, { instant, ...night })).toMatchObject({ result: 'Succeeded', rows: 29 });
    // The acknowledgements of three months went: of these instructions nothing is kept for.
    await database.pool.query(`delete from agentinstructionacknowledgement where created_at < '2020-02-23'`);
    const { rowCount: left } = await database.pool.query('select from agentinstructionacknowledgement');
    expect(await run(database, { instant, ...night })).toMatchObject({
      result: 'Succeeded',
      operations: [{ archived: 0, deleted: 51_100 - left! }],
    });
    // And now all of them: 7,291 rows with content beside some 41,000 without that would go.
    await database.pool.query('delete from agentinstructionacknowledgement');
    await expectBlocked(
      night,
      `instructions: ${number(left! - 7_291)} of ${number(left!)} rows with something to lose`,
    );
  });
});

describe('guard.maxPercentOfConnections', () => {
  beforeAll(async () => {
    database = await createDatabase({ template: 'no-action' });
    await database.pool.query(`insert into agentsession (session_id, agent_id) values ('session', 'agent')`);
  });
  afterAll(() => database?.drop());

  /** Makes `due` of `all` active connections due, beside many that were closed before. */
  async function connections(due: number, all: number): Promise<void> {
    await database.pool.query('truncate agentconnection');
    await database.pool.query(
      `insert into agentconnection (connection_id, session_id, agent_id, last_heartbeat_at, status)
       select n::text, 'session', 'agent', case when n <= $1 then timestamp '2001-01-01' else '2026-11-23 10:00' end,
              case when n <= $2 then 'active' else 'timeout' end
         from generate_series(1, $2::int + 5000) n`,
      [due, all],
    );
  }

  test.each([
    [181, 200, 90, '90.5%'],
    [101, 101, 99, '100%'],
    [120, 1_000, 10, '12%'],
  ])('%i of %i active connections are over a limit of %i', async (due, all, maxPercentOfConnections, percent) => {
    await connections(due, all);
    await expectBlocked(
      { operations: ['connections'], guard: { maxPercentOfConnections } },
      `connections: ${due} of ${number(all)} active connections (${percent}) are due to be closed, more than guard.maxPercentOfConnections ${maxPercentOfConnections}`,
    );
  });

  test('is 90 by default, and blocks the other operations too', async () => {
    await connections(181, 200);
    const guard = { maxPercentOfConnections: undefined };
    const blocked = await run(database, { instant, guard });
    expect(blocked).toMatchObject({
      result: 'Blocked',
      message: expect.stringContaining('maxPercentOfConnections 90'),
    });
  });

  test.each([
    [180, 200, 90],
    [40, 40, 1],
    [100, 100, 90],
    [500, 500, 100],
  ])('%i of %i are not over a limit of %i: up to 100 may always be closed', async (due, all, limit) => {
    await connections(due, all);
    await expectAllowed({ operations: ['connections'], guard: { maxPercentOfConnections: limit } });
  });
});
