import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { effectiveRetention } from '../../src/api/effective.ts';
import type { RunResult } from '../../src/api/run-result.ts';
import { columnTypes } from '../../src/retention/catalog.ts';
import { operationsAt } from '../../src/retention/cutoff.ts';
import type { Operation } from '../../src/retention/operation.ts';
import { parametersArchived } from '../../src/retention/sessions.ts';
import { tablesIn } from '../../src/retention/tables.ts';
import { filledDatabase, instant } from '../support/data/filled.ts';
import { fillWithKept } from '../support/data/kept.ts';
import { eventually } from '../support/eventually.ts';
import { silent } from '../support/log.ts';
import { cloneDatabase, createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { withClient } from '../support/postgres/server.ts';
import { connector, intercepting, noKeys, type RunOverrides, run } from '../support/retention.ts';
import { RetentionProcesses } from '../support/retention-process.ts';
import { statements } from '../support/statements.ts';

const instructions = '"public"."agentinstruction"';
const sessions = '"public"."agentsession"';
const acknowledged = 'retention_instruction_acknowledged';
const notArchived = 'retention_instruction_to_archive';
const sessionNotArchived = 'retention_session_to_archive';
const time = `'^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}'`;
const payloadNote = `(payload operator(pg_catalog.?) 'archived_at' and (payload operator(pg_catalog.->>) 'archived_at') operator(pg_catalog.~) ${time} and pg_catalog.jsonb_set('{"archived":true,"archived_at":null}'::pg_catalog.jsonb, '{archived_at}', payload operator(pg_catalog.->) 'archived_at') operator(pg_catalog.=) payload)`;
const parametersNote = parametersArchived('');
const createAcknowledged = `create index concurrently if not exists "${acknowledged}" on ${instructions} (instruction_id) include (created_at, id, status)`;
const advised = [
  createAcknowledged,
  `create index concurrently if not exists "${notArchived}" on ${instructions} (created_at, id) include (instruction_id, status) where ${payloadNote} is not true`,
  `create statistics if not exists "public"."retention_instruction_note" on (${payloadNote}) from ${instructions}`,
  `analyze ${instructions}`,
  `create index concurrently if not exists "${sessionNotArchived}" on ${sessions} (ended_at, id) include (status) where experimental_parameters is not null and experimental_parameters operator(pg_catalog.<>) all (array['null', '{}', '[]']::pg_catalog.jsonb[]) and ${parametersNote} is not true`,
  `create statistics if not exists "public"."retention_session_note" on (${parametersNote}) from ${sessions}`,
  `analyze ${sessions}`,
];

const processes = new RetentionProcesses();
let source: TestDatabase;
let database: TestDatabase;

beforeAll(async () => {
  source = await createDatabase({ template: 'no-action' });
  await withClient(source.url, (client) => fillWithKept(client, 60_000));
});
afterEach(() => database?.drop());
afterAll(async () => {
  await processes.close();
  await source?.drop();
});

const dryRun = () => run(database, { dryRun: true });
const statementsOf = ({ indexAdvice = [] }: RunResult) => indexAdvice.flatMap((advice) => advice.statements);
const indexes = (args: string[] = [], url = database.url) =>
  processes.start(['indexes', '--policy', 'development', '--database-url', `${url}?sslmode=disable`, ...args]);

async function operations(client: Client): Promise<Operation[]> {
  const retention = effectiveRetention({ preset: 'Development' });
  const scope = { tables: tablesIn('public'), retention, instant, keys: noKeys };
  const types = await columnTypes(client, 'public');
  return Object.values(await operationsAt(client, scope, types, 'UTC'));
}

/** What the planner does with a statement, and with which indexes. */
async function planOf(client: Client, sql: string, parameters: readonly unknown[]) {
  const { rows } = await client.query<{ 'QUERY PLAN': string }>(`explain ${sql}`, [...parameters]);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

/** A run, and the plans of those of its statements that match, each within its own transaction. */
async function planned(statement: RegExp, overrides: RunOverrides) {
  const plans: string[] = [];
  const connect = async () => {
    const client = await connector(database.url)();
    const query = client.query.bind(client) as (sql: string, values?: unknown[]) => Promise<unknown>;
    const explained = async (sql: string, values: unknown[] = []) => {
      if (statement.test(sql)) plans.push(await planOf({ query } as unknown as Client, sql, values));
      return query(sql, values);
    };
    return Object.assign(client, { query: explained });
  };
  return { plans, result: await run(database, { ...overrides, connect }) };
}

describe('where little is due of much that is kept', () => {
  test('a run advises indexes, each with what the planner says of its own counts', async () => {
    database = await cloneDatabase(source.name);
    const result = await dryRun();
    expect(result).toMatchObject({ rows: 30 });
    expect(statementsOf(result)).toEqual(advised);
    expect(result.indexAdvice!.map(({ table }) => table)).toEqual([
      'agentinstruction',
      'agentinstruction',
      'agentsession',
    ]);
    for (const { saving } of result.indexAdvice!) {
      const [, due, read, cost] = /^finding the (\d+) .* reads ([\d,]+) rows or more .* \(cost ([\d,]+)\)/
        .exec(saving)!
        .map((text) => Number(text.replaceAll(',', '')));
      expect(due).toBe(10);
      expect(read).toBeGreaterThan(20_000);
      expect(cost).toBeGreaterThan(10_000);
    }
  });

  test('`retention indexes --apply` makes them, the planner uses each of them, and no run advises them again', async () => {
    database = await cloneDatabase(source.name);
    const printed = await indexes().ended;
    const withoutComments = printed.stdout.replace(/^-- agent.*\n/gm, '');
    expect({ ...printed, stdout: withoutComments }).toEqual({
      exitCode: 0,
      stdout: advised.map((statement) => `${statement};\n`).join(''),
      stderr: '',
    });
    expect(await indexes(['--apply']).ended).toEqual(printed);

    const { plans: counts } = await planned(/^select \(select count/, { dryRun: true });
    expect(counts).toHaveLength(4);
    for (const name of [acknowledged, notArchived, sessionNotArchived]) {
      expect(counts.filter((plan) => plan.includes(`Index Only Scan using ${name}`))).toHaveLength(1);
    }

    expect(await indexes().ended).toEqual({ exitCode: 0, stdout: '-- no index is advised\n', stderr: '' });
    const { plans, result } = await planned(statements.look, { walk: 'keyset' });
    for (const name of [notArchived, sessionNotArchived]) {
      expect(plans.filter((plan) => plan.includes(`using ${name}`) && !plan.includes('Sort')).length).toBeGreaterThan(
        0,
      );
    }
    expect(result).toMatchObject({ result: 'Succeeded', rows: 30 });
    expect(result).not.toHaveProperty('indexAdvice');
  });

  test('an index of the same kind under another name is as good', async () => {
    database = await cloneDatabase(source.name);
    for (const statement of advised) {
      await database.pool.query(statement.replace(/retention_\w+_(acknowledged|to_archive)/, 'ours_$&'));
    }
    expect(await dryRun()).not.toHaveProperty('indexAdvice');
  });

  test('where only the statistics are missing, those are advised', async () => {
    database = await cloneDatabase(source.name);
    for (const statement of advised) if (/ index /.test(statement)) await database.pool.query(statement);
    // As before the first vacuum: no index does without the table.
    await database.pool.query(`update pg_class set relallvisible = 0 where relname = 'agentinstruction'`);
    const result = await run(database, { dryRun: true, operations: ['instructions'] });
    expect(statementsOf(result)).toEqual(advised.slice(2, 4));
  });

  test('an index that is being built is not advised; one that was left half-built is dropped first', async () => {
    database = await cloneDatabase(source.name);
    const other = await database.client();
    await other.query('begin');
    await other.query(`lock ${instructions} in row exclusive mode`);
    const applying = indexes(['--apply']);
    const builder = await eventually('the build waits', async () => {
      const { rows } = await database.pool.query<{ pid: number }>(
        `select pid from pg_stat_activity
          where query = $1 and wait_event_type = 'Lock' and datname = current_database()`,
        [createAcknowledged],
      );
      return rows[0]?.pid;
    });
    expect(statementsOf(await dryRun())).toEqual(advised.slice(1));
    await database.pool.query('select pg_cancel_backend($1)', [builder]);
    const { exitCode, stdout, stderr } = await applying.ended;
    const drop = `drop index concurrently "public"."${acknowledged}"`;
    expect({ exitCode, last: stdout.trim().split('\n').at(-1) }).toEqual({
      exitCode: 1,
      last: `${createAcknowledged};`,
    });
    expect(stderr).toBe(
      `error: canceling statement due to user request: a statement_timeout of the role or the database is too short for it, or somebody cancelled it; index ${acknowledged} is left half-built (INVALID): every write pays for it and no query uses it. Remove it with \`${drop}\`, or run \`retention indexes --apply\` again, which begins with that\n`,
    );
    await other.query('rollback');
    expect(statementsOf(await dryRun())).toEqual([drop, ...advised]);
    expect(await indexes(['--apply']).ended).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await dryRun()).not.toHaveProperty('indexAdvice');
  });

  test('who does not own the tables is told so', async () => {
    database = await cloneDatabase(source.name);
    const role = `reader_of_${database.name}`;
    await database.pool.query(`create role ${role} login password 'x'`);
    try {
      await database.pool.query(`grant select on all tables in schema public to ${role}`);
      const url = new URL(database.url);
      url.username = role;
      url.password = 'x';
      expect(await indexes(['--apply'], url.href).ended).toMatchObject({
        exitCode: 1,
        stderr: 'error: must be owner of table agentinstruction: log in as the owner of the tables\n',
      });
    } finally {
      await database.pool.query(`drop owned by ${role}`);
      await database.pool.query(`drop role ${role}`);
    }
  });

  test('no index is advised for what a run does not do', async () => {
    database = await cloneDatabase(source.name);
    expect(statementsOf(await run(database, { dryRun: true, operations: ['sessions'] }))).toEqual(advised.slice(4));
    expect(await run(database, { operations: ['connections'] })).not.toHaveProperty('indexAdvice');
  });

  test('a run whose advice fails says so in its log, and is none the worse for it', async () => {
    database = await cloneDatabase(source.name);
    const warnings: string[] = [];
    const log = { ...silent, warn: (_fields: object, message: string) => void warnings.push(message) };
    let advising = false;
    const connect = intercepting(database.url, (sql) => {
      if (sql.endsWith('savepoint advice')) advising = sql.startsWith('savepoint');
      return advising ? sql.replace('(format json)', '(format nonsense)') : sql;
    });
    const result = await run(database, { connect, log });
    expect(result).toMatchObject({ result: 'Succeeded', rows: 30 });
    expect(result).not.toHaveProperty('indexAdvice');
    expect(warnings).toEqual(['no index can be advised']);
  });
});

describe('no index is advised', () => {
  test('for small tables', async () => {
    database = await filledDatabase('no-action');
    const result = await run(database, { instant });
    expect(result.rows).toBeGreaterThan(0);
    expect(result).not.toHaveProperty('indexAdvice');
    expect(await indexes().ended).toEqual({ exitCode: 0, stdout: '-- no index is advised\n', stderr: '' });
  });

  test('while a large backlog is due', async () => {
    database = await cloneDatabase(source.name);
    await database.pool.query(`delete from agentinstructionacknowledgement`);
    await database.pool.query(`update agentsession set experimental_parameters = '{"dose": 1}'`);
    await database.pool.query('vacuum analyze agentsession, agentinstruction, agentinstructionacknowledgement');
    const result = await dryRun();
    expect(result.rows).toBeGreaterThan(100_000);
    expect(statementsOf(result)).not.toContain(createAcknowledged);
    expect((result.indexAdvice ?? []).map(({ table }) => table)).not.toContain('agentsession');
  });
});

describe.each(['no-action', 'older'] as const)('in the schema %s', (variant) => {
  test('rows are counted by what happens to them, each due row once, as they are changed', async () => {
    database = await filledDatabase(variant);
    const client = await database.client();
    for (const { name, table, primaryKey, steps, dueParameters } of await operations(client)) {
      const keysOf = async (from: string) => {
        const { rows } = await client.query<{ key: string }>(`select t.${primaryKey}::text as key from ${from}`, [
          ...dueParameters,
        ]);
        return rows.map((row) => row.key);
      };
      for (const { action, due, from } of steps) {
        const counted = await keysOf(from);
        expect({ name, action, counted: counted.sort() }).toEqual({
          name,
          action,
          counted: (await keysOf(`${table} t where ${due}`)).sort(),
        });
        expect(counted).not.toEqual([]);
      }
    }
  });
});
