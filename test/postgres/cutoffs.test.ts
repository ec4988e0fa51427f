import type { Client } from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { addConnection } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import type { Variant } from '../support/postgres/schema.ts';
import { type RunOverrides, run } from '../support/retention.ts';

// Rows exactly at a cutoff, one microsecond older and one younger, for every operation, with periods of 24 hours.

const retention = {
  connectionCleanupHours: 24,
  instructionRetentionDays: 1,
  completedSessionRetentionDays: 1,
  acknowledgementRetentionDays: 1,
};

interface Case {
  what: string;
  variant: Variant;
  timestampTimeZone: string;
  instant: string;
  /** The cutoff and its neighbours, and the instant, as the columns hold them. */
  older: string;
  at: string;
  younger: string;
  closedAt: string;
}

const cases: Case[] = [
  {
    what: 'UTC',
    variant: 'no-action',
    timestampTimeZone: 'UTC',
    instant: '2026-03-29T12:00:00.000001Z',
    older: '2026-03-28 12:00:00',
    at: '2026-03-28 12:00:00.000001',
    younger: '2026-03-28 12:00:00.000002',
    closedAt: '2026-03-29 12:00:00.000001',
  },
  {
    what: 'Europe/London over the night without 01:00 to 02:00: a day is 24 hours',
    variant: 'cascade',
    timestampTimeZone: 'Europe/London',
    instant: '2026-03-29T12:00:00.000001Z',
    older: '2026-03-28 12:00:00',
    at: '2026-03-28 12:00:00.000001',
    younger: '2026-03-28 12:00:00.000002',
    closedAt: '2026-03-29 13:00:00.000001',
  },
  {
    what: 'Europe/London in summer',
    variant: 'no-action',
    timestampTimeZone: 'Europe/London',
    instant: '2026-07-01T23:30:00.999999Z',
    older: '2026-07-01 00:30:00.999998',
    at: '2026-07-01 00:30:00.999999',
    younger: '2026-07-01 00:30:01',
    closedAt: '2026-07-02 00:30:00.999999',
  },
  {
    what: 'America/New_York over the night with two hours from 01:00 to 02:00',
    variant: 'no-action',
    timestampTimeZone: 'America/New_York',
    instant: '2026-11-01T17:00:00.000001Z',
    older: '2026-10-31 13:00:00',
    at: '2026-10-31 13:00:00.000001',
    younger: '2026-10-31 13:00:00.000002',
    closedAt: '2026-11-01 12:00:00.000001',
  },
  {
    what: 'America/New_York with the cutoff in the second of these hours',
    variant: 'cascade',
    timestampTimeZone: 'America/New_York',
    instant: '2026-11-02T06:30:00.000001Z',
    older: '2026-11-01 01:30:00',
    at: '2026-11-01 01:30:00.000001',
    younger: '2026-11-01 01:30:00.000002',
    closedAt: '2026-11-02 01:30:00.000001',
  },
  {
    what: 'columns with time zone, whatever timestampTimeZone says',
    variant: 'older',
    timestampTimeZone: 'America/New_York',
    instant: '2026-03-29T12:00:00.000001Z',
    older: '2026-03-28 12:00:00+00',
    at: '2026-03-28 12:00:00.000001+00',
    younger: '2026-03-28 12:00:00.000002+00',
    closedAt: '2026-03-29 12:00:00.000001+00',
  },
];

let database: TestDatabase;
afterEach(() => database?.drop());

/** Due rows by each operation and their neighbours, named by what they are. */
async function addRows(client: Client, { older, at, younger }: Case): Promise<void> {
  await client.query(`insert into agentsession (session_id, agent_id) values ('running', 'agent')`);
  const waiting = await client.query<{ instruction_id: string }>(
    `insert into agentinstruction (session_id, agent_id, instruction_type, created_at)
     values ('running', 'waiting', 'move', '2030-01-01') returning instruction_id`,
  );
  for (const [name, time] of Object.entries({ older, at, younger })) {
    await client.query(
      `insert into agentconnection (connection_id, session_id, agent_id, last_heartbeat_at)
       values ($1, 'running', 'agent', $2)`,
      [name, time],
    );
    await client.query(
      `insert into agentsession (session_id, agent_id, status, ended_at, experimental_parameters)
       values ($1, 'agent', 'completed', $2, '{"dose": 1}')`,
      [name, time],
    );
    await client.query(
      `insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status, created_at)
       values ($1, $2, 'running', 'processed', $3)`,
      [waiting.rows[0]!.instruction_id, name, time],
    );
    await client.query(
      `with made as (
         insert into agentinstruction (session_id, agent_id, instruction_type, status, created_at, payload)
         values ('running', $1, 'acknowledged', 'completed', $2, '{"x": 1}'),
                ('running', $1, 'unacknowledged', 'completed', $2, '{"x": 1}')
         returning instruction_id, instruction_type
       )
       insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status, created_at)
       select instruction_id, 'kept', 'running', 'processed', '2030-01-01'
         from made where instruction_type = 'acknowledged'`,
      [name, time],
    );
  }
}

const untouched = { connection: 'active', session: 'kept', instructions: ['kept', 'kept'], acknowledgement: 'kept' };
const changed = { connection: 'timeout', session: 'archived', instructions: ['archived'], acknowledgement: 'deleted' };

/** What has become of the rows of this name. */
async function stateOf(client: Client, name: string) {
  const one = async (sql: string) => (await client.query<{ state: string }>(sql, [name])).rows.map((row) => row.state);
  const archived = (column: string) => `case when ${column} ? 'archived' then 'archived' else 'kept' end as state`;
  return {
    connection: (await one('select status as state from agentconnection where connection_id = $1'))[0],
    session: (await one(`select ${archived('experimental_parameters')} from agentsession where session_id = $1`))[0],
    instructions: await one(`select ${archived('payload')} from agentinstruction where agent_id = $1`),
    acknowledgement:
      (await one(`select 'kept' as state from agentinstructionacknowledgement where agent_id = $1`))[0] ?? 'deleted',
  };
}

async function checkRows(client: Client, example: Case): Promise<void> {
  await addRows(client, example);
  const overrides: RunOverrides = { ...example, retention };
  const counts = [{ closed: 1 }, { archived: 1, deleted: 1 }, { archived: 1 }, { deleted: 1 }];
  const cutoffs = counts.map((count) => ({ ...count, cutoff: example.at }));
  expect(await run(database, { ...overrides, dryRun: true })).toMatchObject({ rows: 5, operations: cutoffs });
  for (const name of ['older', 'at', 'younger']) expect(await stateOf(client, name)).toEqual(untouched);
  expect(await run(database, overrides)).toMatchObject({ result: 'Succeeded', rows: 5, operations: cutoffs });
  expect(await stateOf(client, 'older')).toEqual(changed);
  expect(await stateOf(client, 'at')).toEqual(untouched);
  expect(await stateOf(client, 'younger')).toEqual(untouched);
  const { rows } = await client.query(
    `select closed_at::text as closed_at, close_reason from agentconnection where status = 'timeout'`,
  );
  expect(rows).toEqual([{ closed_at: example.closedAt, close_reason: 'Stale connection cleanup after 24h' }]);
}

describe('strictly older than the cutoff is due, to the microsecond', () => {
  test.each(cases)('$what', async (example) => {
    database = await createDatabase({ template: example.variant });
    await checkRows(await database.client(), example);
  });

  test.each([cases[0]!, cases[5]!])(
    'whatever time zone and date style the database has set: $what',
    async (example) => {
      database = await createDatabase({ template: example.variant });
      const client = await database.client();
      const name = client.escapeIdentifier(database.name);
      await client.query(`alter database ${name} set timezone to 'Asia/Tokyo'`);
      await client.query(`alter database ${name} set datestyle to 'German, DMY'`);
      await client.query(`alter database ${name} set default_transaction_isolation to 'serializable'`);
      await checkRows(client, example);
    },
  );
});

test('archived_at is the instant in UTC with microseconds, in any time zone of the columns', async () => {
  database = await createDatabase({ template: 'no-action' });
  const client = await database.client();
  const example = cases[3]!;
  await addRows(client, example);
  await run(database, { ...example, retention });
  const { rows } = await client.query(
    `select payload as archived from agentinstruction where agent_id = 'older'
     union all select experimental_parameters from agentsession where session_id = 'older'`,
  );
  const archived_at = '2026-11-01T17:00:00.000001Z';
  expect(rows.map((row) => row.archived)).toEqual([
    { archived: true, archived_at },
    { archived: true, archived_at, parameter_count: 1 },
  ]);
});

test('without an instant of its own a run takes the clock of the database, once', async () => {
  database = await createDatabase({ template: 'no-action' });
  const client = await database.client();
  await client.query(
    `insert into agentsession (session_id, agent_id, status, ended_at, experimental_parameters)
     select 'session ' || n, 'agent', 'completed', '2001-01-01', '{"dose": 1}' from generate_series(1, 10) n`,
  );
  const clock = async () => (await client.query<{ now: string }>('select clock_timestamp() as now')).rows[0]!.now;
  const [before, , after] = [await clock(), await run(database, { retention: { batchSize: 3 } }), await clock()];
  const { rows } = await client.query<{ archived_at: string; within: boolean }>(
    `select experimental_parameters ->> 'archived_at' as archived_at,
            (experimental_parameters ->> 'archived_at')::timestamptz between $1 and $2 as within
       from agentsession group by 1, 2`,
    [before, after],
  );
  expect(rows).toEqual([
    { archived_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/), within: true },
  ]);
});

test.each(['no-action', 'older'] as const)(
  'rows as old as -infinity are due too, schema variant %s',
  async (template) => {
    database = await createDatabase({ template });
    const client = await database.client();
    for (const time of ['-infinity', '-infinity', '-infinity', '0044-03-15 12:00:00 BC', 'infinity']) {
      await client.query(
        `with session as (
         insert into agentsession (session_id, agent_id, status, ended_at, experimental_parameters)
         values (gen_random_uuid()::text, 'agent', 'completed', $1, '{"dose": 1}') returning session_id
       ), connection as (
         insert into agentconnection (connection_id, session_id, agent_id, last_heartbeat_at)
         select session_id, session_id, 'agent', $1 from session
       ), instruction as (
         insert into agentinstruction (session_id, agent_id, instruction_type, status, created_at)
         select session_id, 'agent', 'move', 'completed', $1 from session returning instruction_id
       )
       insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status, created_at)
       select instruction_id, 'agent', 'session', 'processed', $1 from instruction`,
        [time],
      );
    }
    const dry = await run(database, { dryRun: true, retention: { batchSize: 2 } });
    const real = await run(database, { retention: { batchSize: 2 } });
    expect(dry).toMatchObject({ rows: 16 });
    expect(real).toMatchObject({ result: 'Succeeded', rows: 16, operations: Array(4).fill({ batches: 2 }) });
  },
);

test.each([
  ['Europe/London', '2026-10-25T01:10:00.000000Z'],
  ['America/New_York', '2026-11-01T06:10:00.000000Z'],
  ['Australia/Lord_Howe', '2026-04-04T15:20:00.000000Z'],
])('in the hour that comes twice in %s no connection is closed that is alive', async (timestampTimeZone, now) => {
  const own = await createDatabase({ template: 'no-action' });
  try {
    for (let i = 0; i < 4; i++) await addConnection(own.pool);
    await own.pool.query(
      `update agentconnection set last_heartbeat_at = ($1::timestamptz - interval '10 seconds') at time zone $2 where id < 4`,
      [now, timestampTimeZone],
    );
    const overrides = { operations: ['connections'], timestampTimeZone, instant: now } as const;
    expect(await run(own, { ...overrides, retention: { connectionCleanupHours: 1 } })).toMatchObject({ rows: 1 });
  } finally {
    await own.drop();
  }
});
