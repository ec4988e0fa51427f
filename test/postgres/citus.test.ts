import { afterEach, describe, expect, test } from 'vitest';
import { ConfigurationError } from '../../src/database/config.ts';
import { CrashSite } from '../support/crash-site.ts';
import { addInstruction, countOf } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { nodesOf, notImmutable, type Parsed, parsing } from '../support/postgres/parse-trees.ts';
import { connector, intercepting, run } from '../support/retention.ts';

// Citus itself is not here: what it refuses or gets wrong is looked for in PostgreSQL's parse trees, and its catalog is a copy.
let database: TestDatabase;
afterEach(() => database.drop());

const wrong = [
  `select case 1 when 2 then 3 end`,
  `select case when true then pg_catalog.jsonb_build_object('a', 1) end`,
  `select coalesce(pg_catalog.now()::text, 'never')`,
  `select case when 1 = 1 then now() - interval '1 day' end`,
  `select case when true then to_jsonb(t.at) end from (select timestamptz '2001-01-01' as at) t`,
  `select coalesce((select t.at::text from (select timestamptz '2001-01-01' as at) t), '')`,
];

/** What Citus would not take of some statements, or would read in another way. */
async function refusedByCitus(statements: readonly Parsed[]): Promise<string[]> {
  const found: string[] = [];
  for (const { sql, tree } of new Map(statements.map((one) => [one.tree, one])).values()) {
    const cases = nodesOf(tree, 'CASEEXPR');
    if (cases.some((node) => !node.includes(':arg <>'))) found.push(`simple CASE: ${sql}`);
    for (const node of [...cases, ...nodesOf(tree, 'COALESCEEXPR')]) {
      const names = await notImmutable(database.pool, node);
      if (names.length > 0) found.push(`${names.join(', ')} in CASE or COALESCE: ${sql}`);
    }
  }
  return found;
}

test.each(wrong)('this would be noticed: %s', async (sql) => {
  database = await createDatabase({ template: 'no-action' });
  const parsed: Parsed[] = [];
  const client = await parsing(connector(database.url), parsed)();
  await client.query(sql);
  await client.end();
  expect(await refusedByCitus(parsed)).toHaveLength(1);
});

test('no statement on the tables has a function that is not immutable in a CASE or COALESCE, and none a simple CASE', async () => {
  database = await createDatabase({ template: 'no-action' });
  const site = await CrashSite.prepare(database, '2026-11-24T12:00:00.000000Z');
  await database.pool.query(`
    create table measurement (instruction integer references agentinstruction (id)); create index on measurement (instruction)`);
  const parsed: Parsed[] = [];
  const connect = parsing(connector(database.url), parsed);
  const limits = { maxReplicationLag: '1Gi', vacuum: true };
  await site.run({ dryRun: true, connect });
  for (const walk of ['list', 'keyset', 'blocks'] as const) {
    await site.restore();
    expect(await site.run({ walk, limits, connect })).toMatchObject({ result: 'Succeeded', rows: 8 });
  }
  const { rows } = await database.pool.query<{ oid: number }>(
    `select oid from pg_class where relname in
       ('agentsession', 'agentinstruction', 'agentconnection', 'agentinstructionacknowledgement', 'measurement')`,
  );
  const onTables = parsed.filter(({ tree }) => rows.some(({ oid }) => tree.includes(`:relid ${oid} `)));
  expect(onTables.filter(({ sql }) => /^update/.test(sql)).length).toBeGreaterThan(3);
  expect(await refusedByCitus(onTables)).toEqual([]);
  // The catalog is the coordinator's own; what stands in its statements is copied all the same.
  expect((await refusedByCitus(parsed)).filter((each) => each.startsWith('simple CASE'))).toEqual([]);
});

test('every transaction that changes rows passes its settings on, by SET statements before the first other one', async () => {
  database = await createDatabase({ template: 'no-action' });
  await addInstruction(database.pool);
  const sent: string[] = [];
  const connect = intercepting(database.url, (text) => {
    sent.push(text);
    return text;
  });
  expect(await run(database, { connect })).toMatchObject({ result: 'Succeeded', rows: 2 });
  const passedOn =
    /set_config\('(search_path|row_security|timezone|datestyle|lock_timeout|statement_timeout|max_parallel)/;
  expect(sent.filter((text) => passedOn.test(text))).toEqual([]);
  const changes = sent.flatMap((text, index) => (/^(update|delete)/.test(text) ? [index] : []));
  expect(changes).toHaveLength(2);
  for (const index of changes) {
    const begin = sent.slice(0, index).findLastIndex((text) => text.startsWith('begin'));
    expect(sent[begin + 1]).toMatch(
      /^set local citus\.propagate_set_commands to 'local';\s+set local citus\.enable_local_execution to off;\s+set local/,
    );
  }
});

const catalog = `
  set allow_system_table_mods to on;
  create table pg_catalog.pg_dist_partition (logicalrelid regclass, partmethod "char", repmodel "char");
  create table pg_catalog.pg_dist_shard (logicalrelid regclass, shardid bigint);
  grant select on pg_catalog.pg_dist_partition, pg_catalog.pg_dist_shard to public;`;

describe('where Citus keeps the tables', () => {
  test.each([
    ['distributed by hash over several shards', `('agentsession', 'h', 's')`, 4],
    ['distributed by range over several shards', `('agentinstruction', 'r', 's')`, 2],
    ['reference tables', `('agentinstructionacknowledgement', 'n', 't')`, 1],
  ])('%s, they are refused in one sentence before anything', async (_how, row, shards) => {
    database = await createDatabase({ template: 'no-action' });
    await database.pool.query(`${catalog}
      insert into pg_dist_partition values ${row};
      insert into pg_dist_shard select logicalrelid, n from pg_dist_partition, generate_series(1, ${shards}) n`);
    await addInstruction(database.pool);
    for (const dryRun of [true, false]) {
      const error = await run(database, { dryRun }).catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect((error as Error).message).toMatch(/^nothing was changed: .*Citus.*agent\w+ \((distributed|a reference)/);
    }
    expect(await countOf(database.pool, 'agentinstruction')).toBe(1);
  });

  test.each([
    ['in one shard', `('agentsession', 'n', 's'), ('agentinstruction', 'n', 's')`],
    ['distributed by hash over one shard', `('agentsession', 'h', 's')`],
    ['as local tables that Citus knows', `('agentsession', 'n', 's'), ('agentconnection', 'n', 's')`],
  ])('%s, they are cleaned up', async (_how, values) => {
    database = await createDatabase({ template: 'no-action' });
    await database.pool.query(`${catalog}
      insert into pg_dist_partition values ${values};
      insert into pg_dist_shard select logicalrelid, 1 from pg_dist_partition`);
    await addInstruction(database.pool);
    expect(await run(database)).toMatchObject({ result: 'Succeeded', rows: 2 });
  });
});
