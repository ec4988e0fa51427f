import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { presetRetention } from '../../src/api/effective.ts';
import { grants } from '../../src/retention/grants.ts';
import { addInstructions, countOf } from '../support/data/due-rows.ts';
import { recordingLog } from '../support/log.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { startPgbouncer } from '../support/postgres/pgbouncer.ts';
import { blocks, expectNothingLeft, pausing, pidOf } from '../support/postgres/sessions.ts';
import { connector, type RunOverrides, run } from '../support/retention.ts';

// A run deletes 200 instructions of 200; autovacuum stays away.

const table = '"public"."agentinstruction"';
const beforeVacuum = /vacuum \(/;
const [major] = inject('postgres').version.split('.').map(Number);

let database: TestDatabase;
let holder: Client;

beforeEach(async () => {
  database = await createDatabase({ template: 'no-action' });
  await database.pool.query('alter table agentinstruction set (autovacuum_enabled = off)');
  holder = await database.client();
  await addInstructions(database.pool, 200);
});
afterEach(async () => {
  await holder.end();
  await expectNothingLeft(database);
  await database.drop();
});

const deletion: RunOverrides = { operations: ['instructions'], retention: { batchSize: 50 } };

/** How often the table was vacuumed, autovacuum aside, and its dead rows. */
async function vacuumed(): Promise<{ count: number; dead: number }> {
  // Before PostgreSQL 15 the counts are up to half a second old.
  if (major! < 15) await database.pool.query('select pg_sleep(0.6)');
  const { rows } = await database.pool.query<{ count: number; dead: number }>(
    `select vacuum_count::int as count, n_dead_tup::int as dead from pg_stat_user_tables where relname = 'agentinstruction'`,
  );
  return rows[0]!;
}

/** A run that waits before its vacuum until the test has done something. */
async function runWith(beforeItVacuums: () => Promise<unknown>, overrides: RunOverrides = {}) {
  const paused = pausing(connector(database.url), beforeVacuum);
  const result = run(database, { ...deletion, connect: paused.connect, ...overrides });
  await paused.reached;
  await beforeItVacuums();
  paused.resume();
  return result;
}

test('a table of which a run has deleted a large part is vacuumed', async () => {
  const result = await run(database, deletion);
  expect(result).toMatchObject({ result: 'Succeeded', operations: [{ deleted: 200, deadRows: 0 }] });
  expect(result.message).toBeUndefined();
  expect(await vacuumed()).toEqual({ count: 1, dead: 0 });
});

test('with limits.vacuum: false it is not, and the dead rows left are reported', async () => {
  const result = await run(database, { ...deletion, limits: { vacuum: false } });
  expect(result).toMatchObject({ result: 'Succeeded', operations: [{ deleted: 200, deadRows: 200 }] });
  expect(result.message).toBeUndefined();
  expect(await vacuumed()).toEqual({ count: 0, dead: 200 });
});

test('a vacuum takes no dead rows that an older snapshot may still see: they are reported', async () => {
  await holder.query('begin isolation level repeatable read');
  await holder.query('select count(*) from agentinstruction');
  expect(await run(database, deletion)).toMatchObject({ operations: [{ deleted: 200, deadRows: 200 }] });
  expect((await vacuumed()).count).toBe(1);
});

test('a small part of a table is left to autovacuum', async () => {
  await database.pool.query(
    `insert into agentinstruction (session_id, agent_id, instruction_type, payload, status)
     select session_id, 'agent', 'move', '{}', 'completed' from agentsession, generate_series(1, 800)`,
  );
  await database.pool.query('analyze agentinstruction');
  // 200 of 1,000 rows; autovacuum's measure would be 250.
  const { operations } = await run(database, deletion);
  expect(operations).toMatchObject([{ deleted: 200 }]);
  if (major! >= 15) expect(operations[0]!.deadRows).toBe(200);
  expect((await vacuumed()).count).toBe(0);
});

test('a run that changes nothing says nothing of dead rows', async () => {
  await run(database, deletion);
  const { operations } = await run(database, deletion);
  expect(operations[0]).not.toHaveProperty('deadRows');
  expect((await vacuumed()).count).toBe(1);
});

test('a table that another holds is passed over', async () => {
  const result = await runWith(async () => {
    await holder.query('begin');
    await holder.query('lock table agentinstruction in share update exclusive mode');
  });
  expect(result).toMatchObject({ result: 'Succeeded', operations: [{ deleted: 200, deadRows: 200 }] });
  expect(result.message).toMatch(/^vacuum of "public"\."agentinstruction": skipping vacuum .* lock not available$/);
  expect((await vacuumed()).count).toBe(0);
});

/** Locks an index as a change of its tablespace does: a vacuum waits for it, in spite of skip_locked. */
async function holdIndex(): Promise<void> {
  await holder.query('begin');
  await holder.query('alter index agentinstruction_pkey set tablespace pg_default');
}

test('a vacuum that takes too long is cancelled, and the run succeeds', async () => {
  const result = await runWith(holdIndex, { vacuumTimeoutMs: 300 });
  expect(result).toMatchObject({ result: 'Succeeded', rows: 200 });
  expect(result.message).toBe(`vacuum of ${table}: it took longer than 0.3 s`);
});

test('a run that is told to stop cancels its vacuum: what it was asked for is done', async () => {
  const stop = new AbortController();
  const { log, lines } = recordingLog();
  const paused = pausing(connector(database.url), beforeVacuum);
  const result = run(database, { ...deletion, connect: paused.connect, signal: stop.signal, log });
  await paused.reached;
  await holdIndex();
  paused.resume();
  await blocks(database, await pidOf(holder));
  stop.abort('SIGTERM received');
  expect(await result).toMatchObject({
    result: 'Succeeded',
    rows: 200,
    message: `vacuum of ${table}: stopped: SIGTERM received`,
  });
  expect(lines.some(({ message }) => message === 'vacuumed')).toBe(false);
});

test('a vacuum that fails does not fail the run', async () => {
  const result = await runWith(() => database.pool.query('drop table agentinstruction cascade'));
  expect(result).toMatchObject({ result: 'Succeeded', rows: 200 });
  expect(result.message).toMatch(/vacuum of "public"\."agentinstruction": relation .* does not exist/);
});

describe('what the database sets for its sessions', () => {
  const set = (name: string, value: string) =>
    database.pool.query(`alter database ${database.name} set ${name} = '${value}'`);

  test.each([
    ['statement_timeout', '500ms'],
    ['lock_timeout', '500ms'],
  ])('%s ends no vacuum', async (name, value) => {
    await set(name, value);
    const result = await runWith(async () => {
      await holdIndex();
      // Longer than that, by the server's clock.
      void blocks(database, await pidOf(holder)).then(async () => {
        await holder.query('select pg_sleep(1)');
        await holder.query('rollback');
      });
    });
    expect(result).toMatchObject({ result: 'Succeeded', operations: [{ deadRows: 0 }] });
    expect(result.message).toBeUndefined();
  });

  test('client_min_messages = debug5 makes no noise', async () => {
    await set('client_min_messages', 'debug5');
    const result = await run(database, deletion);
    expect(result.message).toBeUndefined();
    expect((await vacuumed()).count).toBe(1);
  });

  test('client_min_messages = error hides no vacuum that was passed over', async () => {
    await set('client_min_messages', 'error');
    const result = await runWith(async () => {
      await holder.query('begin');
      await holder.query('lock table agentinstruction in share update exclusive mode');
    });
    expect(result.message).toMatch(/skipping vacuum .* lock not available$/);
  });

  test('through pgbouncer is left as it is, and named where it ends the vacuum', async ({ skip }) => {
    await set('statement_timeout', '500ms');
    await set('client_min_messages', 'debug1');
    const pgbouncer = await startPgbouncer(database.url);
    if (pgbouncer === undefined) return skip();
    try {
      const paused = pausing(connector(pgbouncer.url), beforeVacuum);
      const result = run({ url: pgbouncer.url }, { ...deletion, connect: paused.connect });
      await paused.reached;
      await holdIndex();
      paused.resume();
      expect(await result).toMatchObject({ result: 'Succeeded', rows: 200 });
      expect((await result).message).toMatch(
        /^vacuum of "public"\."agentinstruction": canceling statement due to statement timeout: the role's statement_timeout/,
      );
      await holder.query('rollback');
    } finally {
      await pgbouncer.stop();
    }
  });

  test('a vacuum that another user cancels says so', async () => {
    const result = runWith(async () => {
      await holdIndex();
      void blocks(database, await pidOf(holder)).then((pid) =>
        database.pool.query('select pg_cancel_backend($1)', [pid]),
      );
    });
    expect((await result).message).toMatch(/another user or process cancelled it/);
  });
});

describe('a role that does not own the table', () => {
  const role = `retention_${randomBytes(4).toString('hex')}`;
  let asRole: URL;
  beforeEach(async () => {
    await holder.query(`create role ${role} login password 'secret'`);
    await holder.query(grants(role, 'public', presetRetention('Development')));
    asRole = new URL(database.url);
    asRole.username = role;
    asRole.password = 'secret';
  });
  afterEach(async () => {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    await client.query(`reassign owned by ${role} to current_user`);
    await client.query(`drop owned by ${role}`);
    await client.query(`drop role ${role}`);
    await client.end();
  });
  const runAsRole = () => run({ url: asRole.href }, deletion);

  test('is told once which right is missing, and the run succeeds', async () => {
    const result = await runAsRole();
    expect(result).toMatchObject({ result: 'Succeeded', operations: [{ deleted: 200, deadRows: 200 }] });
    const remedy = major! >= 17 ? `grant maintain on ${table} to the run's role` : `only the owner of ${table} has it`;
    expect(result.message).toMatch(/^not vacuumed after a large pass, for want of the right \(/);
    expect(result.message).toContain(remedy);
    expect(result.message).not.toContain(role);
    expect((await vacuumed()).count).toBe(0);
  });

  test.skipIf(major! < 17)('vacuums with the right to maintain it, which `retention grants` suggests', async () => {
    const suggested = grants(role, 'public', presetRetention('Development'))
      .split('\n')
      .find((line) => line.includes('maintain'));
    expect(suggested).toMatch(/^-- grant maintain on .*;$/);
    await holder.query(suggested!.replace('-- ', ''));
    const result = await runAsRole();
    expect(result).toMatchObject({ result: 'Succeeded', operations: [{ deadRows: 0 }] });
    expect(result.message).toBeUndefined();
    expect((await vacuumed()).count).toBe(1);
  });

  test('vacuums as a member of the role that owns it', async () => {
    await holder.query(`create role ${role}_owner`);
    await holder.query(`grant ${role}_owner to ${role}`);
    await holder.query(`alter table agentinstruction owner to ${role}_owner`);
    expect(await runAsRole()).toMatchObject({ result: 'Succeeded', operations: [{ deadRows: 0 }] });
    expect((await vacuumed()).count).toBe(1);
    await holder.query(`reassign owned by ${role}_owner to current_user`);
    await holder.query(`drop role ${role}_owner`);
  });
});

test('through pgbouncer in transaction mode nothing of the vacuum stays behind', async ({ skip }) => {
  const pgbouncer = await startPgbouncer(database.url);
  if (pgbouncer === undefined) return skip();
  const settings = `select name, setting from pg_settings where source = 'session' order by name`;
  const paused = pausing(connector(pgbouncer.url), beforeVacuum);
  const client = new Client({ connectionString: pgbouncer.url, application_name: 'another' });
  try {
    await client.connect();
    const before = (await client.query(settings)).rows;
    const result = run({ url: pgbouncer.url }, { ...deletion, connect: paused.connect, vacuumTimeoutMs: 300 });
    await paused.reached;
    await holdIndex();
    paused.resume();
    expect((await result).message).toBe(`vacuum of ${table}: it took longer than 0.3 s`);
    await holder.query('rollback');
    expect((await client.query(settings)).rows).toEqual(before);
    await addInstructions(database.pool, 200);
    const again = await run({ url: pgbouncer.url }, deletion);
    expect(again).toMatchObject({ result: 'Succeeded', rows: 200 });
    expect(again.message).toBeUndefined();
    expect((await client.query(settings)).rows).toEqual(before);
    expect((await vacuumed()).count).toBe(1);
    expect(
      await countOf(
        database.pool,
        'pg_stat_activity',
        `state = 'active' and starts_with(query, '/* retention vacuum')`,
      ),
    ).toBe(0);
  } finally {
    await client.end();
    await pgbouncer.stop();
  }
});
