import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cleanupOperations } from '../../src/api/spec.ts';
import { CrashSite } from '../support/crash-site.ts';
import { acknowledge, addInstruction, emptyTables, stateOf } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { fillWithTraps, trapped } from '../support/postgres/hostile.ts';
import { createLogin, type Login } from '../support/postgres/login.ts';
import { StatementProxy } from '../support/postgres/statement-proxy.ts';
import { connector, run, statistics } from '../support/retention.ts';

const instant = '2026-11-24T12:00:00.000000Z';

// Strangers may create in public before PostgreSQL 15, and wherever they were let later. A search_path may name any schema,
// and before pg_catalog.
describe.each([
  ['public, as the default search_path has it', 'public', '"$user", public'],
  ['a schema that the search_path names before pg_catalog', 'traps', 'traps, pg_catalog, public'],
])('with traps for every operator, function, type and catalog table in %s', (_what, schema, path) => {
  let database: TestDatabase;
  /** Whom runs log in as: the traps are in its path, and not in the tests' own. */
  let login: Login;
  let site: CrashSite;
  const expected: Record<string, unknown> = {};

  beforeAll(async () => {
    database = await createDatabase({ template: 'no-action' });
    login = await createLogin(database);
    site = await CrashSite.prepare({ url: login.url, pool: database.pool }, instant);
    for (const walk of ['list', 'keyset', 'blocks'] as const) {
      await site.restore();
      expect(await site.run({ walk })).toMatchObject({ result: 'Succeeded', rows: 8 });
      expected[walk] = await site.state();
    }
    expect(await fillWithTraps(database.pool, schema)).toBeGreaterThan(700);
    await database.pool.query(`alter role ${login.user} in database ${database.name} set search_path = ${path}`);
  });
  beforeEach(() => site.restore());
  afterAll(async () => {
    await database?.drop();
    await login?.drop();
  });

  const limits = { maxReplicationLag: '1Gi', vacuum: true };

  test.each(['list', 'keyset', 'blocks'] as const)('a run by the walk %s does what it does without', async (walk) => {
    const warnings: unknown[] = [];
    const open = connector(login.url);
    const connect = async (abandon?: AbortSignal) => {
      const client = await open(abandon);
      return client.on('notice', ({ message }) => warnings.push(message));
    };
    const result = await site.run({ walk, limits, connect });
    expect(warnings).not.toContain(trapped);
    expect(JSON.stringify(result)).not.toContain(trapped);
    expect(result).toMatchObject({ result: 'Succeeded', rows: 8 });
    expect(await site.state()).toEqual(expected[walk]);
  });

  test('a dry run, and statistics, count what they count without', async () => {
    const dry = await site.run({ dryRun: true });
    expect(dry).toMatchObject({ result: 'DryRun', rows: 8, operations: cleanupOperations.map((name) => ({ name })) });
    expect(await statistics(site.database)).toMatchObject({ recordCounts: { instructions: { rows: 7 } } });
  });

  test('what became of a commit whose answer was lost is found out', async () => {
    let cut = false;
    const result = await site.run(
      { retryPausesMs: [1, 1, 1, 1, 1] },
      {
        after(statement) {
          if (cut || !/^(update|delete)/.test(statement.sql)) return;
          cut = true;
          statement.cut();
        },
      },
    );
    expect(cut).toBe(true);
    expect(result).toMatchObject({ result: 'Succeeded', rows: 8 });
  });

  test('a locked row is waited for, a statement that takes too long is cancelled after a stop', async () => {
    await emptyTables(database.pool);
    const instruction = await addInstruction(database.pool);
    const holder = await database.client();
    await holder.query('begin');
    await holder.query('select from agentinstruction for update');
    const controller = new AbortController();
    const proxy = await StatementProxy.start(login.url, {
      before({ sql }) {
        if (/update of t$/.test(sql)) setTimeout(() => controller.abort('the test stops it'), 50);
      },
    });
    const result = await run(database, {
      operations: ['instructions'],
      limits: { lockTimeout: '60s' },
      signal: controller.signal,
      cancelAfterMs: 50,
      connect: connector(proxy.through(login.url)),
    });
    proxy.stop();
    await holder.query('rollback');
    expect(result).toMatchObject({ result: 'Partial', message: expect.stringContaining('the test stops it') });
    await acknowledge(database.pool, instruction);
    expect(await run(site.database, { operations: ['instructions'] })).toMatchObject({ operations: [{ archived: 1 }] });
    expect(await stateOf(database.pool, instruction)).toBe('archived with 1 acknowledgements');
  });
});
