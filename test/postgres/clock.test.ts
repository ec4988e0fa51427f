import { afterEach, describe, expect, test } from 'vitest';
import { ConfigurationError } from '../../src/database/config.ts';
import { checksums } from '../support/data/checksum.ts';
import { countOf } from '../support/data/due-rows.ts';
import { filledDatabase } from '../support/data/filled.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import type { Variant } from '../support/postgres/schema.ts';
import { intercepting, type RunOverrides, run, statistics } from '../support/retention.ts';

let database: TestDatabase;
afterEach(() => database?.drop());

/** The database's clock goes wrong by this much. */
const clockOff = (interval: string): RunOverrides['connect'] =>
  intercepting(database.url, (text) =>
    text.replace('clock_timestamp()', `(clock_timestamp() + interval '${interval}')`),
  );
/** The run's own clock goes wrong by this many minutes. */
const ownClockOff =
  (minutes: number): RunOverrides['now'] =>
  () =>
    new Date(Date.now() + minutes * 60_000);

describe('a run whose clock and the database’s differ by more than five minutes changes nothing', () => {
  const wrong: [string, () => RunOverrides, string][] = [
    ['the database’s is 180 days ahead', () => ({ connect: clockOff('180 days') }), '180 days ahead of'],
    ['the database’s is 40 years behind', () => ({ connect: clockOff('-14610 days') }), '14610 days behind'],
    ['the database’s is six minutes ahead', () => ({ connect: clockOff('6 minutes') }), '6 minutes ahead of'],
    ['its own is an hour behind', () => ({ now: ownClockOff(-60) }), '60 minutes ahead of'],
    ['its own is six minutes ahead', () => ({ now: ownClockOff(6) }), '6 minutes behind'],
  ];
  test.each(wrong)('%s', async (_, overrides, difference) => {
    database = await filledDatabase('no-action');
    const client = await database.client();
    const before = await checksums(client);
    const sentence = new RegExp(
      `the database's clock \\(.*Z\\) is ${difference} the run's own \\(.*Z\\), more than guard.maxClockDifference 5m`,
    );
    const dry = await run(database, { ...overrides(), dryRun: true });
    expect(dry).toMatchObject({ result: 'DryRun', message: expect.stringMatching(sentence) });
    const blocked = await run(database, overrides());
    expect(blocked).toMatchObject({ result: 'Blocked', rows: 0, operations: [] });
    expect(blocked.message).toMatch(sentence);
    expect(blocked.message).toContain('Nothing was changed. Correct the clock');
    expect(await checksums(client)).toEqual(before);
  });

  test.each([
    ['four minutes off', () => ({ connect: clockOff('4 minutes') })],
    ['four minutes off the other way', () => ({ now: ownClockOff(4) })],
    ['more, and the policy allows it', () => ({ connect: clockOff('2 hours'), guard: { maxClockDifference: '3h' } })],
  ] satisfies [string, () => RunOverrides][])('%s: it runs', async (_, overrides) => {
    database = await createDatabase({ template: 'no-action' });
    expect(await run(database, overrides())).toMatchObject({ result: 'Succeeded' });
  });
});

/** Sessions of this database, the application's among them, have this time zone. */
async function setTimeZone(zone: string, of = 'database'): Promise<void> {
  const admin = await database.client();
  const name = admin.escapeIdentifier(database.name);
  const what = of === 'database' ? `database ${name}` : `role ${of} in database ${name}`;
  await admin.query(`alter ${what} set timezone to '${zone}'`);
}

/** Connections whose heartbeats the application writes by now(), so many hours ago. */
async function heartbeats(count: number, hoursAgo = 0, zone?: string): Promise<void> {
  const client = await database.client();
  if (zone !== undefined) await client.query(`set timezone to '${zone}'`);
  await client.query(
    `insert into agentsession (session_id, agent_id) values ('session', 'agent') on conflict do nothing`,
  );
  await client.query(
    `insert into agentconnection (connection_id, session_id, agent_id, last_heartbeat_at)
     select gen_random_uuid()::text, 'session', 'agent',
            now() - make_interval(hours => $2) - n * interval '1 second'
       from generate_series(1, $1::int) n`,
    [count, hoursAgo],
  );
}

const active = () => countOf(database.pool, 'agentconnection', `status = 'active'`);

describe('connections that are alive in the time zone that the database is set to', () => {
  /** Shorter than the offset of any zone here. */
  const retention = { connectionCleanupHours: 2 };

  test.each(['database', 'postgres'])(
    'are not closed where the policy has another, whose the %s’s setting is; other operations run',
    async (of) => {
      database = await createDatabase({ template: 'no-action' });
      await setTimeZone('America/New_York', of);
      await heartbeats(40);
      await database.pool.query(
        `update agentsession set status = 'completed', ended_at = '2001-01-01', experimental_parameters = '{"dose": 1}'`,
      );
      const sentence =
        /^connections failed: the newest heartbeats of active connections are [45] hours old in spec\.database\.timestampTimeZone UTC, and of this moment in America\/New_York, which the database is set to: 40 live connections would be closed; set timestampTimeZone to America\/New_York/;
      const dry = await run(database, { retention, dryRun: true });
      expect(dry.message).toMatch(sentence);
      const result = await run(database, { retention });
      expect(result).toMatchObject({ result: 'Partial', rows: 1 });
      expect(result.message).toMatch(sentence);
      expect(await active()).toBe(40);
      // With the zone put right, those without a heartbeat are closed, and those alone.
      await heartbeats(7, 3);
      const right = await run(database, { retention, timestampTimeZone: 'America/New_York' });
      expect(right).toMatchObject({ result: 'Succeeded', rows: 7 });
      expect(await active()).toBe(40);
    },
  );

  test('nor where there are stale ones, and one from the far future, beside them', async () => {
    database = await createDatabase({ template: 'no-action' });
    await setTimeZone('America/Sao_Paulo');
    await heartbeats(5);
    await heartbeats(20, 500);
    await heartbeats(1, -24 * 365);
    expect(await run(database, { retention, operations: ['connections'] })).toMatchObject({
      result: 'Failed',
      rows: 0,
    });
    expect(await active()).toBe(26);
  });

  test('are told of where none of them is due', async () => {
    database = await createDatabase({ template: 'no-action' });
    await setTimeZone('America/New_York');
    await heartbeats(3);
    await heartbeats(2, 100);
    const result = await run(database, { retention: { connectionCleanupHours: 48 } });
    expect(result).toMatchObject({ result: 'Succeeded', rows: 2 });
    expect(result.message).toMatch(
      /hours old in spec\.database\.timestampTimeZone UTC, and of this moment in America\/New_York/,
    );
  });

  test('are no matter where the application writes UTC on a server that is set to another', async () => {
    database = await createDatabase({ template: 'no-action' });
    await setTimeZone('America/New_York');
    await heartbeats(3, 0, 'UTC');
    await heartbeats(2, 5, 'UTC');
    const result = await run(database, { retention });
    expect(result).toMatchObject({ result: 'Succeeded', rows: 2 });
    expect(result.message).toBeUndefined();
  });

  test.each([1, 60, 1_000])(
    'are none where all agents have been off for %i hours more: all are closed',
    async (hours) => {
      database = await createDatabase({ template: 'no-action' });
      await setTimeZone('America/New_York');
      await heartbeats(40, 2 + hours, 'UTC');
      const result = await run(database, { retention });
      expect(result).toMatchObject({ result: 'Succeeded', rows: 40 });
      expect(result.message).toBeUndefined();
    },
  );

  test('are alive in any zone where heartbeats have a time zone of their own', async () => {
    database = await createDatabase({ template: 'older' });
    await setTimeZone('America/New_York');
    await heartbeats(4);
    await heartbeats(2, 5);
    expect(await run(database, { retention })).toMatchObject({ result: 'Succeeded', rows: 2 });
  });
});

describe('rows from the future are told', () => {
  const inserts: [table: string, column: string, insert: string][] = [
    [
      'agentconnection',
      'last_heartbeat_at',
      `(connection_id, session_id, agent_id, last_heartbeat_at) values ('c', 'session', 'agent', $1)`,
    ],
    ['agentsession', 'created_at', `(session_id, agent_id, created_at) values ('s', 'agent', $1)`],
    [
      'agentinstruction',
      'created_at',
      `(session_id, agent_id, instruction_type, created_at) values ('session', 'agent', 'move', $1)`,
    ],
    [
      'agentinstructionacknowledgement',
      'created_at',
      `(instruction_id, agent_id, session_id, status, created_at)
       select instruction_id, 'agent', 'session', 'received', $1 from agentinstruction limit 1`,
    ],
  ];
  const tables = (['no-action', 'older'] as const).flatMap((variant: Variant) =>
    inserts.map(([table, column, insert]) => ({ variant, table, column, insert })),
  );
  test.each(tables)('$table in the schema $variant', async ({ variant, table, column, insert }) => {
    database = await createDatabase({ template: variant });
    const client = await database.client();
    await client.query(`insert into agentsession (session_id, agent_id) values ('session', 'agent')`);
    await client.query(
      `insert into agentinstruction (session_id, agent_id, instruction_type) values ('session', 'agent', 'move')`,
    );
    const quiet = await run(database);
    expect(quiet.message).toBeUndefined();
    const time = new Date(Date.now() + 9 * 3_600_000).toISOString().replace(/Z$/, '+00');
    await client.query(`set timezone to 'UTC'`);
    await client.query(`insert into ${table} ${insert.replace('$1', `'${time}'`)}`);
    const told = new RegExp(`^${table} has rows from the future: ${column} \\d.* is after the database's clock`);
    expect(await run(database)).toMatchObject({ result: 'Succeeded', message: expect.stringMatching(told) });
    expect(await run(database, { dryRun: true })).toMatchObject({ message: expect.stringMatching(told) });
  });
});

describe('spec.database.timestampTimeZone', () => {
  test.each([
    ['UTC-5', /5 hours ahead of UTC, the opposite of what it looks like/],
    ['GMT-5', /5 hours ahead of UTC/],
    ['-5', /5 hours ahead of UTC/],
    ['UTC+3', /3 hours behind UTC/],
    ['EST5EDT4', /5 hours behind UTC\)/],
    ['PST', /is no time zone that PostgreSQL lists;/],
    ['Foo', /is no time zone that PostgreSQL lists;/],
    ['Mars/Olympus', /is no time zone that PostgreSQL lists;/],
    ['europe/london', /it lists "Europe\/London"/],
  ])('%s is no name of a zone', async (timestampTimeZone, words) => {
    database = await createDatabase({ template: 'no-action' });
    await heartbeats(1, 100);
    for (const attempt of [
      () => run(database, { timestampTimeZone }),
      () => run(database, { timestampTimeZone, dryRun: true }),
      () => statistics(database, { timestampTimeZone }),
    ]) {
      const error = await attempt().catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect((error as Error).message).toMatch(words);
      expect((error as Error).message).toMatch(
        /^spec\.database\.timestampTimeZone: .*such as UTC, Europe\/London or America\/New_York$/,
      );
    }
    expect(await active()).toBe(1);
  });

  test.each(['UTC', 'Etc/UTC', 'Europe/London', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5', 'EST5EDT'])(
    '%s is one',
    async (timestampTimeZone) => {
      database = await createDatabase({ template: 'no-action' });
      expect(await run(database, { timestampTimeZone })).toMatchObject({ result: 'Succeeded' });
    },
  );
});
