import { afterEach, expect, test } from 'vitest';
import { acknowledge, addInstruction, addInstructions } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { pausing } from '../support/postgres/sessions.ts';
import { connector, run } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

// Settings that an administrator may have made for the role or the database; a run sets its own.
let database: TestDatabase;
afterEach(() => database.drop());

async function databaseWith(settings: Record<string, string>): Promise<void> {
  database = await createDatabase({ template: 'cascade' });
  for (const [name, value] of Object.entries(settings)) {
    await database.pool.query(`alter database ${database.name} set ${name} = '${value}'`);
  }
}

test('a run under a stricter default isolation holds back no vacuum while it waits', async () => {
  await databaseWith({ default_transaction_isolation: 'repeatable read' });
  await addInstruction(database.pool);
  const paused = pausing(connector(database.url), statements.deleteInstructions);
  const result = run(database, { connect: paused.connect });
  const worker = await paused.reached;
  const { rows } = await database.pool.query(
    `select query from pg_stat_activity
      where datname = current_database() and application_name = 'retention test' and pid <> $1 and state = 'idle in transaction' and backend_xmin is not null`,
    [worker],
  );
  paused.resume();
  expect(rows).toEqual([]);
  expect((await result).result).toBe('Succeeded');
});

test('time limits of the role for whole transactions and for idle ones do not end a run', async () => {
  // Long enough for a busy machine to come to where a run sets its own.
  const settings = { idle_in_transaction_session_timeout: '2s' };
  await databaseWith(settings);
  const { rows } = await database.pool.query<{ known: boolean }>(
    `select current_setting('transaction_timeout', true) is not null as known`,
  );
  if (rows[0]!.known) await database.pool.query(`alter database ${database.name} set transaction_timeout = '2s'`);
  await addInstructions(database.pool, 3);
  const paused = pausing(connector(database.url), statements.deleteInstructions);
  const result = run(database, { connect: paused.connect });
  await paused.reached;
  // Longer than both limits, by the server's clock.
  await database.pool.query('select pg_sleep(2.5)');
  paused.resume();
  expect(await result).toMatchObject({ result: 'Succeeded', operations: [{}, { deleted: 3 }, {}, {}] });
});

test('a note stays a note where backslashes in strings are escapes', async () => {
  await databaseWith({ standard_conforming_strings: 'off' });
  await acknowledge(database.pool, await addInstruction(database.pool));
  const left = async () =>
    (
      await database.pool.query(
        'select payload, instruction_metadata, experimental_parameters from agentinstruction i join agentsession s using (session_id)',
      )
    ).rows;
  expect(await run(database)).toMatchObject({ result: 'Succeeded', rows: 2 });
  const notes = await left();
  expect(await run(database)).toMatchObject({ result: 'Succeeded', rows: 0 });
  expect(await left()).toEqual(notes);
});
