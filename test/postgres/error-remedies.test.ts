import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { effectiveRetention } from '../../src/api/effective.ts';
import { grants } from '../../src/retention/grants.ts';
import { addConnection, addInstruction, addInstructions, emptyTables } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { run } from '../support/retention.ts';

// What a failed operation says is to be done must be what helps.
const role = `remedies_${randomBytes(4).toString('hex')}`;
let database: TestDatabase;
let owner: Client;
/** The same database as a role that has what `retention grants` prints. */
let asRole: { url: string };

beforeAll(async () => {
  database = await createDatabase({ template: 'no-action' });
  owner = await database.client();
  await owner.query(`create role ${role} login password '${role}'`);
  await owner.query(grants(role, 'public', effectiveRetention({ preset: 'Development' })));
  const url = new URL(database.url);
  url.username = role;
  url.password = role;
  asRole = { url: url.href };
});
beforeEach(async () => {
  await emptyTables(database.pool);
  await owner.query('create schema app');
});
afterEach(() => owner.query('drop schema app cascade'));
afterAll(async () => {
  await owner?.query(`drop owned by ${role}; drop role ${role}`);
  await database?.drop();
});

/** Makes a trigger of instructions that does this; it goes with schema app. */
const trigger = (body: string) =>
  owner.query(`
    create function app.audit() returns trigger language plpgsql as $$ begin ${body}; return old; end $$;
    create trigger audit before delete on agentinstruction for each row execute function app.audit()`);

/** What the operation instructions says when it fails. */
async function sentence(overrides: Parameters<typeof run>[1] = {}): Promise<string> {
  const { operations, message } = await run(asRole, { operations: ['instructions'], ...overrides });
  return `${operations[0]?.error ?? operations[0]?.message ?? message}`;
}

describe('a privilege that is missing', () => {
  test('on a table of the policy is one that `retention grants` prints', async () => {
    await addInstruction(database.pool);
    await owner.query(`revoke delete on agentinstruction from ${role}`);
    try {
      expect(await sentence()).toMatch(/permission denied for table agentinstruction: .*`retention grants` prints/);
    } finally {
      await owner.query(`grant delete on agentinstruction to ${role}`);
    }
  });

  test('on the table of a trigger names the function that needs it, and not `retention grants`', async () => {
    await addInstruction(database.pool);
    await owner.query(`create table app.log (what text); grant usage on schema app to ${role}`);
    await trigger(`insert into app.log values ('gone')`);
    const said = await sentence();
    expect(said).toMatch(/permission denied for table log: .*function app\.audit\(\)/);
    expect(said).not.toContain('retention grants');
  });

  test('on the schema of a trigger’s table names the function too', async () => {
    await addInstruction(database.pool);
    await owner.query('create table app.log (what text)');
    await trigger(`insert into app.log values ('gone')`);
    expect(await sentence()).toMatch(/permission denied for schema app: .*function app\.audit\(\)/);
  });

  test('on a function that the table calls is not one that `retention grants` prints', async () => {
    await addConnection(database.pool);
    await owner.query(`
      create function app.known(text) returns boolean language plpgsql as 'begin return true; end';
      revoke execute on function app.known(text) from public;
      alter table agentconnection add constraint known check (app.known(status))`);
    const said = await sentence({ operations: ['connections'] });
    expect(said).toMatch(/permission denied for function known: .*not on a table of the policy/);
    expect(said).not.toContain('retention grants` prints it');
  });

  test('for row-level security says so, for a table of the policy and for one of a trigger', async () => {
    await addInstruction(database.pool);
    await owner.query('alter table agentinstruction enable row level security');
    try {
      const said = await sentence();
      expect(said).toMatch(/row-level security.*: .*bypassrls/);
      expect(said).not.toContain('retention grants');
    } finally {
      await owner.query('alter table agentinstruction disable row level security');
    }
    await owner.query(`
      create table app.log (what text); alter table app.log enable row level security;
      grant usage on schema app to ${role}; grant insert on app.log to ${role}`);
    await trigger(`insert into app.log values ('gone')`);
    expect(await sentence()).toMatch(/row-level security policy for table "log": .*function app\.audit\(\)/);
  });
});

describe('a statement that is cancelled', () => {
  test('by statementTimeout says what can be raised', async () => {
    await addInstruction(database.pool);
    await trigger('perform pg_sleep(3600)');
    expect(await sentence({ limits: { statementTimeout: '1s' } })).toMatch(/limits\.statementTimeout; raise it/);
  });

  test('by another user says so', async () => {
    await addInstruction(database.pool);
    await trigger('perform pg_sleep(3600)');
    const said = sentence();
    await eventually('the statement is cancelled', async () => {
      const { rowCount } = await database.pool.query(
        `select pg_cancel_backend(pid) from pg_stat_activity where usename = $1 and wait_event = 'PgSleep'`,
        [role],
      );
      return rowCount === 1;
    });
    expect(await said).toMatch(/another user or process cancelled the statement/);
    expect(await said).not.toContain('statementTimeout');
  });

  test('by a lock that a trigger does not wait for is not one that lockTimeout helps against', async () => {
    await addInstructions(database.pool, 1);
    await owner.query(`create table app.log (what text); grant usage on schema app to ${role};
      grant all on app.log to ${role}`);
    await trigger('lock table app.log in exclusive mode nowait');
    const holder = await database.client();
    await holder.query('begin; lock table app.log in exclusive mode');
    try {
      const said = await sentence();
      expect(said).toMatch(/could not obtain lock/);
      expect(said).not.toContain('limits.lockTimeout');
    } finally {
      await holder.query('rollback');
    }
  });
});

describe('a value that a column does not take names it:', () => {
  test.each([
    [
      'its length',
      'alter column close_reason type varchar(10)',
      'alter column close_reason type varchar',
      /close_reason/,
    ],
    ['null', `add constraint reason check (close_reason is null)`, 'drop constraint reason', /"reason"/],
    ['its type', 'alter column close_reason type app.code', 'alter column close_reason type varchar', /close_reason/],
  ])('%s', async (_, breaks, repairs, names) => {
    await addConnection(database.pool);
    await owner.query(
      `create domain app.code as varchar check (value like '%-%'); grant usage on schema app to ${role}`,
    );
    await owner.query(`alter table agentconnection ${breaks}`);
    try {
      expect(await sentence({ operations: ['connections'] })).toMatch(names);
    } finally {
      await emptyTables(database.pool);
      await owner.query(`alter table agentconnection ${repairs}`);
    }
  });
});
