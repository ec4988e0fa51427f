import { afterEach, describe, expect, test } from 'vitest';
import {
  acknowledge,
  addConnection,
  addInstruction,
  addInstructions,
  addOldAcknowledgements,
  addSession,
  countOf,
} from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { run } from '../support/retention.ts';

// What the application has attached to its tables was written for the application's sessions, not for a run's.
let database: TestDatabase;
afterEach(() => database.drop());

/** A database whose sessions begin with these settings, as those of the application do. */
async function databaseWith(ddl: string, settings: Record<string, string> = {}): Promise<void> {
  database = await createDatabase({ template: 'no-action' });
  // Connections of the pool come later, and have the settings.
  const client = await database.client();
  for (const [name, value] of Object.entries({ search_path: 'app, public', ...settings })) {
    await client.query(`alter database ${database.name} set ${name} to ${value}`);
  }
  await client.query(`create schema app; ${ddl}`);
}

const audited = ['agentsession', 'agentinstruction', 'agentconnection', 'agentinstructionacknowledgement'];
const audit =
  `
  create table app.log (what text, at timestamp default localtimestamp, zone text default current_setting('timezone'));
  create function public.audit() returns trigger language plpgsql as $$
  begin insert into lo` +
  `g (what) values (tg_table_name || ' ' || tg_op); return coalesce(new, old); end $$;
  ${audited
    .map((table) => `create trigger audit before update or delete on ${table} for each row execute function audit();`)
    .join('\n')}`;

describe.each(['list', 'keyset', 'blocks'] as const)('by the walk %s', (walk) => {
  test('a trigger of each table finds the tables of the path that the role has at login', async () => {
    await databaseWith(audit);
    await addInstruction(database.pool);
    const acknowledged = await addInstruction(database.pool);
    await addOldAcknowledgements(database.pool, acknowledged, 2);
    await addConnection(database.pool);
    const result = await run(database, { walk });
    expect(result).toMatchObject({ result: 'Succeeded', rows: 8 });
    expect(await countOf(database.pool, 'app.log')).toBe(8);
  });

  test('a trigger is in the time zone and date style that the role has at login', async () => {
    await databaseWith(audit, { timezone: `'America/New_York'`, datestyle: `'German'` });
    await addInstruction(database.pool);
    await run(database, { walk, operations: ['instructions'] });
    const { rows } = await database.pool.query(
      `select zone, abs(extract(epoch from localtimestamp - at)) < 60 as now from app.log`,
    );
    expect(rows).toEqual([{ zone: 'America/New_York', now: true }]);
  });

  test('a check constraint and an index that call functions of that path hold', async () => {
    await databaseWith(`
      create table app.kinds (name text); insert into app.kinds values ('move');
      create function app.known(kind varchar) returns boolean language plpgsql as $$
      begin return exists (select from kinds where name = kind); end $$;
      create function app.size(payload jsonb) returns int immutable language plpgsql as $$
      begin return measure(payload); end $$;
      create function app.measure(payload jsonb) returns int immutable language sql as 'select length(payload::text)';
      create index on agentinstruction (app.size(payload));
      alter table agentinstruction add check (app.known(instruction_type))`);
    await addInstruction(database.pool);
    await acknowledge(database.pool, await addInstruction(database.pool));
    expect(await run(database, { walk, operations: ['instructions'] })).toMatchObject({
      result: 'Succeeded',
      operations: [{ deleted: 1, archived: 1 }],
    });
  });

  test('a trigger that writes to a table with row security may do what the policy lets the role do', async () => {
    await databaseWith(`
      ${audit}
      create role notary_${walk} nologin;
      grant usage on schema app, public to notary_${walk};
      grant insert, select on app.log to notary_${walk};
      alter table app.log enable row level security;
      create policy all_may_insert on app.log for insert with check (true);
      alter function public.audit() owner to notary_${walk};
      alter function public.audit() security definer;`);
    try {
      await addInstruction(database.pool);
      await addSession(database.pool);
      expect(await run(database, { walk })).toMatchObject({ result: 'Succeeded' });
      expect(await countOf(database.pool, 'app.log')).toBeGreaterThan(1);
    } finally {
      await database.pool.query(`drop owned by notary_${walk} cascade; drop role notary_${walk}`);
    }
  });
});

test('a deferred constraint trigger that refuses a row is noticed before the commit, and costs that row alone', async () => {
  await databaseWith(`
    create function public.veto() returns trigger language plpgsql as $$
    begin if old.id = 3 then raise 'row 3 stays'; end if; return null; end $$;
    create constraint trigger veto after delete on agentinstruction deferrable initially deferred
      for each row execute function veto()`);
  await addInstructions(database.pool, 5);
  expect(await run(database, { operations: ['instructions'] })).toMatchObject({
    result: 'Partial',
    operations: [{ deleted: 4, failed: 1 }],
  });
  const { rows } = await database.pool.query('select id from agentinstruction');
  expect(rows).toEqual([{ id: 3 }]);
});
