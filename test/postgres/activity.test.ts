import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addInstructions, addSessions, countOf, emptyTables } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { createDatabase } from '../support/postgres/database.ts';
import { startPgbouncer } from '../support/postgres/pgbouncer.ts';
import { blocks, pidOf } from '../support/postgres/sessions.ts';
import { connector, run } from '../support/retention.ts';

// What an administrator sees of a run in pg_stat_activity.

const database = await createDatabase({ template: 'no-action' });
// Says in a loud line why not, where it cannot be had.
const pgbouncer = await startPgbouncer(database.url);
let holder: Client;
beforeAll(async () => {
  holder = await database.client();
});
beforeEach(() => emptyTables(database.pool));
afterEach(() => holder.query('rollback'));
afterAll(async () => {
  await pgbouncer?.stop();
  await database.drop();
});

const ways: [string, string][] = [['directly', database.url]];
if (pgbouncer !== undefined) ways.push(['through pgbouncer in transaction mode', pgbouncer.url]);

describe.each(ways)('%s', (_, url) => {
  /** The application_name of a run that waits for a lock on the rows of a table. */
  async function nameWhileHeld(table: string, name: string): Promise<string> {
    await holder.query('begin');
    await holder.query(`select from ${table} for update`);
    const result = run({ url }, { connect: connector(url, name), limits: { lockTimeout: '1h' } });
    const pid = await blocks(database, await pidOf(holder));
    const { rows } = await database.pool.query('select application_name from pg_stat_activity where pid = $1', [pid]);
    await holder.query('rollback');
    expect(await result).toMatchObject({ result: 'Succeeded' });
    return rows[0].application_name;
  }

  test('its name says which policy, job and operation are at work', async () => {
    await addInstructions(database.pool, 1);
    const name = 'retention smartem/nightly';
    expect(await nameWhileHeld('agentinstruction', name)).toBe(`${name} instructions`);
    await addSessions(database.pool, 1);
    expect(await nameWhileHeld('agentsession', name)).toBe(`${name} sessions`);
  });

  test('of a name that is too long, the operation is kept', async () => {
    await addInstructions(database.pool, 1);
    const name = `retention ${'p'.repeat(63)}/nightly`;
    const seen = await nameWhileHeld('agentinstruction', name);
    expect(seen).toBe(`${name.slice(0, 50)} instructions`);
    expect(seen).toHaveLength(63);
  });

  test('the operation is gone from the name when its transactions are over', async () => {
    await addInstructions(database.pool, 1);
    await run({ url }, { connect: connector(url, 'retention smartem/nightly') });
    await eventually('no session bears the name of an operation', async () => {
      const named = `datname = current_database() and application_name ~ 'instructions|sessions'`;
      return (await countOf(database.pool, 'pg_stat_activity', named)) === 0;
    });
    const client = new Client({ connectionString: url, application_name: 'another' });
    await client.connect();
    const { rows } = await client.query('show application_name');
    await client.end();
    expect(rows).toEqual([{ application_name: 'another' }]);
  });
});
