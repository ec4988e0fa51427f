import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { effectiveRetention } from '../../src/api/effective.ts';
import { presetNames } from '../../src/api/presets.ts';
import { statisticsSchema } from '../../src/api/run-result.ts';
import { limitsSchema } from '../../src/api/spec.ts';
import { runStatistics } from '../../src/retention/run-statistics.ts';
import { checksums } from '../support/data/checksum.ts';
import { addInstruction, addOldAcknowledgements } from '../support/data/due-rows.ts';
import { filledDatabase } from '../support/data/filled.ts';
import { silent } from '../support/log.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { connector, intercepting, run, statistics } from '../support/retention.ts';
import { snapshot, tableOf } from '../support/retention-oracle.ts';

const kinds = Object.entries(tableOf) as [keyof typeof tableOf, string][];

describe.each(['no-action', 'older'] as const)('statistics of generated rows, schema variant %s', (variant) => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await filledDatabase(variant);
  });
  afterAll(() => database?.drop());

  const one = async <T>(sql: string) =>
    (await database.pool.query<{ value: T }>(`select (${sql}) as value`)).rows[0]!.value;

  test('have exact counts, sizes and the oldest of each table, and write nothing', async () => {
    const client = await database.client();
    await client.query('vacuum'); // so that none comes in between, which would change sizes
    const before = await checksums(client);
    const { recordCounts, tableSizes, totalSizeBytes, totalSize, oldest } = await statistics(database);
    expect(await checksums(client)).toEqual(before);
    let total = 0;
    for (const [kind, table] of kinds) {
      expect(recordCounts[kind]).toEqual({ rows: Number(await one(`select count(*) from ${table}`)) });
      const bytes = Number(await one(`pg_total_relation_size('${table}')`));
      expect(tableSizes[kind]).toEqual({ bytes, size: await one(`pg_size_pretty(${bytes}::bigint)`) });
      const time = `min(created_at)${variant === 'older' ? ` at time zone 'UTC'` : ''}`;
      expect(oldest[kind]).toBe(await one(`select to_char(${time}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') from ${table}`));
      total += bytes;
    }
    expect({ totalSizeBytes, totalSize }).toEqual({
      totalSizeBytes: total,
      totalSize: await one(`pg_size_pretty(${total}::bigint)`),
    });
  });

  test.each(presetNames)('count the rows due that a dry run counts: %s', async (preset) => {
    const retention = effectiveRetention({ preset });
    const { due, observedAt } = await statistics(database, { retention });
    const dry = await run(database, { preset, instant: observedAt, dryRun: true });
    expect(due).toEqual({
      acknowledgements: 0,
      ...Object.fromEntries(
        dry.operations.map((o) => [o.name, (o.closed ?? 0) + (o.archived ?? 0) + (o.deleted ?? 0)]),
      ),
    });
    expect(due.instructions).toBeGreaterThan(0);
  });

  test.each(presetNames)('count what is past its age in no listed status: %s', async (preset) => {
    const retention = effectiveRetention({ preset });
    const { uncovered, observedAt } = await statistics(database, { retention });
    const rows = await snapshot(database.pool);
    const counted = (table: 'agentsession' | 'agentinstruction', column: string, days: number, listed: string[]) => {
      const counts = new Map<string, number>();
      const cutoff = new Date(Date.parse(observedAt) - days * 86_400_000).toISOString().replace('T', ' ').slice(0, 23);
      for (const row of rows[table].values()) {
        const status = String(row.status);
        if (row[column] === null || String(row[column]) >= cutoff || listed.includes(status)) continue;
        counts.set(status, (counts.get(status) ?? 0) + 1);
      }
      return [...counts]
        .map(([status, count]) => ({ status, rows: count }))
        .sort((a, b) => b.rows - a.rows || a.status.localeCompare(b.status));
    };
    const { statuses, completedSessionRetentionDays, instructionRetentionDays } = retention;
    expect(uncovered).toEqual({
      sessions: counted('agentsession', 'ended_at', completedSessionRetentionDays, statuses.sessions),
      instructions: counted('agentinstruction', 'created_at', instructionRetentionDays, statuses.instructions),
    });
    expect(uncovered.sessions?.map(({ status }) => status)).toEqual(['ended']);
    expect(uncovered.instructions?.map(({ status }) => status).sort()).toEqual(['acknowledged', 'pending', 'sent']);
  });

  test('fit the schema of the status', async () => {
    const collected = await statistics(database);
    expect(statisticsSchema.parse(collected)).toEqual(collected);
  });
});

describe('statistics', () => {
  test('have no acknowledgements due where the policy keeps them for seven years', async () => {
    database = await createDatabase({ template: 'no-action' });
    await addOldAcknowledgements(database.pool, await addInstruction(database.pool), 2);
    const dueOf = async (acknowledgementRetentionDays: number) => {
      const retention = effectiveRetention({ preset: 'Custom', retention: { acknowledgementRetentionDays } });
      return (await statistics(database, { retention })).due.acknowledgements;
    };
    expect(await dueOf(2_554)).toBe(2);
    expect(await dueOf(2_555)).toBe(0);
  });

  let database: TestDatabase;
  afterEach(() => database?.drop());

  test('of empty tables have no oldest rows', async () => {
    database = await createDatabase({ template: 'cascade' });
    const collected = await statistics(database);
    const none = { sessions: 0, instructions: 0, connections: 0, acknowledgements: 0 };
    expect(collected).toMatchObject({ due: none, uncovered: { sessions: [], instructions: [] } });
    expect(Object.values(collected.recordCounts)).toEqual([{ rows: 0 }, { rows: 0 }, { rows: 0 }, { rows: 0 }]);
    expect(Object.values(collected.oldest).filter((time) => time !== undefined)).toEqual([]);
  });

  test('a status of the policy’s own is covered, the defaults it replaces are not', async () => {
    database = await filledDatabase('no-action');
    const retention = effectiveRetention({ preset: 'Development', retention: { statuses: { sessions: ['ended'] } } });
    const { uncovered } = await statistics(database, { retention });
    expect(uncovered.sessions?.map(({ status }) => status).sort()).toEqual(['completed', 'error', 'terminated']);
  });

  test('times written in London are shown in UTC', async () => {
    database = await createDatabase({ template: 'no-action' });
    await database.pool.query(
      `insert into agentsession (session_id, agent_id, created_at) values ('s', 'a', '2026-07-01 01:02:03.000004')`,
    );
    const { oldest } = await statistics(database, { timestampTimeZone: 'Europe/London' });
    expect(oldest.sessions).toBe('2026-07-01T00:02:03.000004Z');
  });

  describe.each(['no-action', 'older'] as const)('of times that are out of range, schema variant %s,', (variant) => {
    test.each([
      ['-infinity', '-infinity'],
      ['infinity', 'infinity'],
      ['the first that there is', '4713-11-24 BC'],
      ['a year before Christ', '0044-03-15 BC'],
      ['the last that there is', '294276-12-31 23:59:59'],
      ['a year of five digits', '10000-01-01'],
    ])('%s: the oldest row is that of the others, and nothing else is missing', async (_, time) => {
      database = await createDatabase({ template: variant });
      await database.pool.query(
        `insert into agentsession (session_id, agent_id, created_at) values ('a', 'a', $1), ('b', 'b', '2026-07-01')`,
        [time],
      );
      await addInstruction(database.pool);
      await database.pool.query('update agentinstruction set created_at = $1', [time]);
      await database.pool.query(`update agentsession set created_at = '2026-08-01' where session_id not in ('a', 'b')`);
      for (const timestampTimeZone of ['America/Los_Angeles', 'Asia/Tokyo']) {
        const collected = await statistics(database, { timestampTimeZone });
        expect(statisticsSchema.parse(collected)).toEqual(collected);
        expect(collected.oldest.sessions).toMatch(/^2026-0(6-30|7-01)T/);
        expect(collected.oldest.instructions).toBeUndefined();
        expect(collected.recordCounts).toMatchObject({ sessions: { rows: 3 }, instructions: { rows: 1 } });
        expect(collected.due).toMatchObject({ sessions: 1 });
        expect(collected.tableSizes.instructions?.bytes).toBeGreaterThan(0);
      }
    });
  });

  test('a value that cannot be computed with costs its own figure alone', async () => {
    database = await filledDatabase('no-action');
    const connect = intercepting(database.url, (sql) =>
      sql.replace(
        /to_char\(\s+case \$1::text/,
        `to_char(case when 1 / (select 0) = 1 then now() end, 'YYYY'), to_char(case $1::text`,
      ),
    );
    const collected = await statistics(database, { connect });
    expect(Object.values(collected.oldest).filter((time) => time !== undefined)).toEqual([]);
    expect(collected.recordCounts).toMatchObject({ sessions: { rows: 100 } });
    expect(collected.due.sessions).toBeGreaterThan(0);
  });

  test('the size of a partitioned table is that of its partitions, theirs included, and so is its estimate', async () => {
    database = await createDatabase({ template: 'no-action' });
    await database.pool.query(`
      create table parts (like agentinstruction including defaults) partition by range (id);
      create table parts_1 partition of parts for values from (0) to (1000);
      create table parts_2 partition of parts for values from (1000) to (maxvalue) partition by range (id);
      create table parts_2_1 partition of parts_2 for values from (1000) to (maxvalue);
      create index on parts (created_at);
      insert into parts (id, instruction_id, session_id, agent_id, instruction_type, payload, status)
      select n, gen_random_uuid(), 's', 'a', 'move', '{}', 'x' from generate_series(1, 3000) n;
      alter table agentinstructionacknowledgement drop constraint agentinstructionacknowledgement_instruction_id_fkey;
      drop table agentinstruction;
      alter table parts rename to agentinstruction;
      analyze`);
    const { rows } = await database.pool.query<{ bytes: string }>(
      `select sum(pg_total_relation_size(relid)) as bytes from pg_partition_tree('agentinstruction')`,
    );
    const collected = await statistics(database);
    expect(collected.tableSizes.instructions?.bytes).toBe(Number(rows[0]!.bytes));
    expect(collected.totalSizeBytes).toBeGreaterThan(Number(rows[0]!.bytes));
    const connect = intercepting(database.url, (sql) =>
      sql.replace(
        /^(select count\(\*\) as count from )("public"\."agentinstruction")/,
        '$1 (select pg_sleep(60)) slow, $2',
      ),
    );
    const estimated = await statistics(database, { connect, countTimeoutMs: 1_000 });
    expect(estimated.recordCounts.instructions).toEqual({ rows: 3_000, estimated: true });
  });

  test('the size of a table that Citus has distributed is what Citus says', async () => {
    database = await createDatabase({ template: 'no-action' });
    // As Citus makes them, for the one table that it knows.
    await database.pool.query(`
      set allow_system_table_mods to on;
      create table pg_catalog.pg_dist_partition (logicalrelid regclass);
      insert into pg_catalog.pg_dist_partition values ('agentsession');
      create function pg_catalog.citus_total_relation_size(logicalrelid regclass, fail_on_error boolean default true)
        returns bigint language sql as 'select 5000000000'`);
    const { tableSizes } = await statistics(database);
    expect(tableSizes.sessions?.bytes).toBe(5_000_000_000);
    expect(tableSizes.connections?.bytes).toBeLessThan(1_000_000);
  });

  test('a table that takes too long to count is estimated, and the rest is exact', async () => {
    database = await filledDatabase('no-action');
    // As if agentinstruction were so large that whatever reads its rows takes a minute.
    const connect = intercepting(database.url, (sql) =>
      sql.replace(/from ("public"\."agentinstruction")/, 'from (select pg_sleep(60)) slow, $1'),
    );
    const collected = await statistics(database, { connect, countTimeoutMs: 3_000 });
    expect(collected.recordCounts).toMatchObject({
      sessions: { rows: 100 },
      instructions: { rows: 2_000, estimated: true },
      connections: { rows: 300 },
    });
    expect(collected.recordCounts.sessions).not.toHaveProperty('estimated');
    expect(collected.due.instructions).toBeUndefined();
    expect(collected.due.sessions).toBeGreaterThan(0);
    expect(collected.oldest.instructions).toBeUndefined();
    expect(collected.oldest.acknowledgements).toBeDefined();
    expect(collected.tableSizes.instructions?.bytes).toBeGreaterThan(0);
    expect(collected.uncovered.instructions).toBeUndefined();
    expect(collected.uncovered.sessions).toHaveLength(1);
  });
});

describe('a run of statistics', () => {
  let database: TestDatabase;
  afterEach(() => database?.drop());

  const runOf = async (overrides: Partial<Parameters<typeof runStatistics>[0]> = {}) =>
    runStatistics({
      identity: { id: 'test', job: 'statistics', trigger: 'CommandLine' },
      retention: effectiveRetention({ preset: 'Development' }),
      schema: 'public',
      timestampTimeZone: 'UTC',
      limits: limitsSchema.parse({}),
      connect: connector(database.url),
      signal: new AbortController().signal,
      log: silent,
      now: () => new Date(),
      ...overrides,
    });

  /** As if counting agentinstruction took a minute; `reached` is called when it begins. */
  const slowly = (reached = () => {}) =>
    intercepting(database.url, (sql) => {
      if (!sql.startsWith('select count(*) as count from "public"."agentinstruction"')) return sql;
      reached();
      return sql.replace('from', 'from (select pg_sleep(60)) slow,');
    });

  test('has the values in force and the statistics', async () => {
    database = await createDatabase({ template: 'no-action' });
    expect(await runOf()).toMatchObject({
      result: 'Succeeded',
      operations: [],
      policy: { preset: 'Development' },
      statistics: { due: { instructions: 0 } },
    });
  });

  test('ends as Partial when it is stopped, in the middle of a count', async () => {
    database = await createDatabase({ template: 'no-action' });
    const stop = new AbortController();
    const connect = slowly(() => stop.abort('SIGINT received'));
    const report = await runOf({ connect, signal: stop.signal, cancelAfterMs: 20 });
    expect(report).toMatchObject({ result: 'Partial', message: 'stopped: SIGINT received' });
    expect(report.statistics).toBeUndefined();
  });

  test('begins no other count after a stop', async () => {
    database = await createDatabase({ template: 'no-action' });
    const stop = new AbortController();
    const counted: string[] = [];
    const connect = intercepting(database.url, (sql) => {
      if (sql.includes('count(*)')) counted.push(sql);
      stop.abort('SIGTERM received');
      return sql;
    });
    expect(await runOf({ connect, signal: stop.signal })).toMatchObject({ result: 'Partial' });
    expect(counted).toEqual([]);
  });

  test('ends as Partial when maxDuration is over', async () => {
    database = await createDatabase({ template: 'no-action' });
    const limits = limitsSchema.parse({ maxDuration: '1s' });
    expect(await runOf({ connect: slowly(), limits, cancelAfterMs: 20 })).toMatchObject({
      result: 'Partial',
      message: expect.stringMatching(/^stopped: maxDuration 1s is over/),
    });
  });

  test('shows what a terminal would obey in a status, and does not send it', async () => {
    database = await createDatabase({ template: 'no-action' });
    await addInstruction(database.pool);
    await database.pool.query(`update agentinstruction set status = E'\\x1b[2Jgone\\u202e' || repeat('x', 80)`);
    const { uncovered } = (await runOf({})).statistics!;
    expect(uncovered.instructions).toEqual([{ status: expect.stringMatching(/^\\x1b\[2Jgone\\u202ex+…$/), rows: 1 }]);
  });

  test('that fails says what to do', async () => {
    database = await createDatabase({ template: 'no-action' });
    const connect = intercepting(database.url, (sql) =>
      sql.startsWith('select count(*)') ? 'set local role pg_monitor; select count(*) from public.agentsession' : sql,
    );
    expect(await runOf({ connect })).toMatchObject({
      result: 'Failed',
      message: expect.stringMatching(/^permission denied for table agentsession: .*retention grants/),
    });
  });
});
