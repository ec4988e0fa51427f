import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fingerprintOf } from '../../src/retention/fingerprint.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';

/** A role that was granted nothing at all. */
const role = `retention_${randomBytes(4).toString('hex')}`;
const password = randomBytes(8).toString('hex');
let database: TestDatabase;
let other: TestDatabase;

beforeAll(async () => {
  [database, other] = await Promise.all([
    createDatabase({ template: 'no-action' }),
    createDatabase({ template: 'no-action' }),
  ]);
  await database.pool.query(`create role ${role} login password '${password}'`);
});
afterAll(async () => {
  await database.pool.query(`drop role ${role}`);
  await database.drop();
  await other.drop();
});

async function asRole(url: string, schema = 'public', before?: string): Promise<string | undefined> {
  const own = new URL(url);
  own.username = role;
  own.password = password;
  const client = new Client({ connectionString: own.href });
  await client.connect();
  try {
    if (before) await client.query(before);
    return await fingerprintOf(client, schema);
  } finally {
    await client.end();
  }
}

test('a role without any grant reads the fingerprint, which is the same for every role and connection', async () => {
  const fingerprint = await asRole(database.url);
  expect(fingerprint).toMatch(/^[0-9a-f]{16}$/);
  expect(await asRole(database.url)).toBe(fingerprint);
  expect(await fingerprintOf(await database.client(), 'public')).toBe(fingerprint);
});

test('another database of the server and another schema have another, and so has a database that is renamed', async () => {
  const all = [await asRole(database.url), await asRole(database.url, 'other'), await asRole(other.url)];
  expect(new Set(all).size).toBe(3);
  await other.pool.end();
  const admin = await database.client();
  const renamed = `${other.name}_renamed`;
  await admin.query(`alter database ${other.name} rename to ${renamed}`);
  expect(all).not.toContain(await asRole(other.url.replace(other.name, renamed)));
  await admin.query(`alter database ${renamed} rename to ${other.name}`);
});

test('functions and operators of a stranger that come first in the search path are not called', async () => {
  const fingerprint = await asRole(database.url);
  await database.pool.query(`
    create schema hostile;
    create function hostile.pg_control_system() returns table (system_identifier bigint) language sql as 'select 1::bigint';
    create function hostile.current_database() returns name language sql as $$ select 'none'::name $$;
    create function hostile.eq(name, name) returns boolean language sql as 'select false';
    create operator hostile.= (leftarg = name, rightarg = name, function = hostile.eq);
    create view hostile.pg_database as select 1::oid as oid, 'none'::name as datname;
    grant usage on schema hostile to public;
    grant select on hostile.pg_database to public`);
  expect(await asRole(database.url, 'public', 'set search_path to hostile, pg_catalog')).toBe(fingerprint);
});

test('where the role may not read it there is none, and the connection can still be used', async () => {
  await database.pool.query('revoke execute on function pg_control_system() from public');
  expect(await asRole(database.url)).toBeUndefined();
  await database.pool.query('grant execute on function pg_control_system() to public');
  expect(await asRole(database.url)).toBeDefined();
});
