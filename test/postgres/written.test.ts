import { afterEach, describe, expect, test } from 'vitest';
import type { CleanupOperation } from '../../src/api/spec.ts';
import {
  acknowledge,
  addConnection,
  addInstruction,
  addInstructions,
  addOldAcknowledgements,
  addSession,
  addSessions,
  countOf,
} from '../support/data/due-rows.ts';
import { databaseWith, type TestDatabase } from '../support/postgres/database.ts';
import { pausing } from '../support/postgres/sessions.ts';
import { connector, intercepting, run } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

// A row count says that a statement took rows. What became of them only a look afterwards can say.
let database: TestDatabase;
afterEach(() => database.drop());

type Table = 'agentsession' | 'agentinstruction' | 'agentconnection' | 'agentinstructionacknowledgement';

const trigger = (body: string, when: string) => `
  create function public.back() returns trigger language plpgsql as $$ begin ${body} end $$;
  create ${when} execute function public.back();`;

/** What an UPDATE writes, by table; each has these columns of its own. */
const content = {
  agentsession: 'experimental_parameters',
  agentinstruction: 'payload',
  agentconnection: 'status',
} as const;
type Updated = keyof typeof content;

/** Ways to undo an update of some rows, by a condition on `old`, and tell the client that it was done. */
const undoing: Record<string, (table: Updated, which?: string) => string> = {
  'a BEFORE trigger that returns the old row': (table, which = 'true') =>
    trigger(`if ${which} then return old; end if; return new;`, `trigger back before update on ${table} for each row`),
  'a BEFORE trigger that writes the old value alone': (table, which = 'true') =>
    trigger(
      `if ${which} then new.${content[table]} := old.${content[table]}; end if; return new;`,
      `trigger back before update on ${table} for each row`,
    ),
  'an AFTER trigger that updates once more': (table, which = 'true') =>
    trigger(
      `if pg_trigger_depth() = 1 and (${which}) then
         update ${table} set ${content[table]} = old.${content[table]} where id = old.id;
       end if; return null;`,
      `trigger back after update on ${table} for each row`,
    ),
  'an AFTER trigger of the whole statement': (table, which = 'true') =>
    trigger(
      `if pg_trigger_depth() = 1 then
         update ${table} t set ${content[table]} = b.${content[table]} from befores b where t.id = b.id and (${which.replaceAll('old.', 'b.')});
       end if; return null;`,
      `trigger back after update on ${table} referencing old table as befores for each statement`,
    ),
  'a deferred constraint trigger': (table, which = 'true') =>
    trigger(
      `if old.${content[table]} is distinct from new.${content[table]} and pg_trigger_depth() = 1 and (${which}) then
         update ${table} set ${content[table]} = old.${content[table]} where id = old.id;
       end if; return null;`,
      `constraint trigger back after update on ${table} deferrable initially deferred for each row`,
    ),
  'a rule that updates another table instead': (table) => `
    create table public.elsewhere as table ${table};
    create rule back as on update to ${table} do instead
      update public.elsewhere set ${content[table]} = new.${content[table]} where id = old.id;`,
};

const inserting: Record<string, (table: Table, which?: string) => string> = {
  'an AFTER trigger that inserts it again': (table, which = 'true') =>
    trigger(
      `if ${which} then insert into ${table} select old.*; end if; return null;`,
      `trigger back after delete on ${table} for each row`,
    ),
  'a deferred trigger that inserts it again': (table, which = 'true') =>
    trigger(
      `if ${which} then insert into ${table} select old.*; end if; return null;`,
      `constraint trigger back after delete on ${table} deferrable initially deferred for each row`,
    ),
  'a rule that deletes from another table instead': (table) => `
    create table public.elsewhere as table ${table};
    create rule back as on delete to ${table} do instead delete from public.elsewhere where true;`,
};

/** A row that is due for each operation that updates, and that operation. */
const updates: [CleanupOperation, Updated, () => Promise<unknown>][] = [
  ['connections', 'agentconnection', () => addConnection(database.pool)],
  ['instructions', 'agentinstruction', async () => acknowledge(database.pool, await addInstruction(database.pool))],
  ['sessions', 'agentsession', () => addSession(database.pool)],
];
const deletes: [CleanupOperation, Table, () => Promise<unknown>][] = [
  ['instructions', 'agentinstruction', () => addInstruction(database.pool)],
  [
    'acknowledgements',
    'agentinstructionacknowledgement',
    async () => addOldAcknowledgements(database.pool, await addInstruction(database.pool), 1),
  ],
];

async function expectFailed(operation: CleanupOperation, walk: 'list' | 'keyset' | 'blocks', table: Table) {
  const before = await database.pool.query(`select to_jsonb(t) as row from ${table} t order by 1`);
  const result = await run(database, { operations: [operation], walk });
  expect(result).toMatchObject({
    result: 'Failed',
    rows: 0,
    operations: [{ failed: 1, batches: 0, error: expect.stringContaining('trigger or a rule') }],
  });
  expect((await database.pool.query(`select to_jsonb(t) as row from ${table} t order by 1`)).rows).toEqual(before.rows);
}

describe.each(['list', 'blocks'] as const)('by the walk %s', (walk) => {
  describe.each(updates)('the change that %s makes', (operation, table, add) => {
    test.each(Object.keys(undoing))('and %s undoes is no success, and the row stays as it is', async (how) => {
      database = await databaseWith('');
      await add();
      await database.pool.query(undoing[how]!(table));
      await expectFailed(operation, walk, table);
    });
  });

  describe.each(deletes)('what %s deletes', (operation, table, add) => {
    test.each(Object.keys(inserting))('and %s is no success, and the row stays as it is', async (how) => {
      database = await databaseWith('');
      await add();
      await database.pool.query(inserting[how]!(table));
      await expectFailed(operation, walk, table);
    });
  });
});

describe.each(['list', 'keyset', 'blocks'] as const)('by the walk %s', (walk) => {
  test('one row whose old value comes back is left, counted and named, and all others are done', async () => {
    database = await databaseWith(undoing['a BEFORE trigger that returns the old row']!('agentsession', 'old.id = 17'));
    await addSessions(database.pool, 60);
    expect(await run(database, { operations: ['sessions'], walk })).toMatchObject({
      result: 'Partial',
      operations: [{ archived: 59, failed: 1, skipped: 0 }],
      message: expect.stringMatching(/1 rows could not be changed.*id 17: .*trigger or a rule/),
    });
    expect(await countOf(database.pool, 'agentsession', `experimental_parameters ? 'dose'`)).toBe(1);
  });

  test('one row that is inserted again is left, and all others are deleted', async () => {
    database = await databaseWith(
      inserting['an AFTER trigger that inserts it again']!('agentinstruction', 'old.id = 3'),
    );
    await addInstructions(database.pool, 20);
    expect(await run(database, { operations: ['instructions'], walk })).toMatchObject({
      result: 'Partial',
      operations: [{ deleted: 19, failed: 1, skipped: 0 }],
    });
    expect((await database.pool.query('select id from agentinstruction')).rows).toEqual([{ id: 3 }]);
  });

  test('a trigger that writes columns of its own, or adds to what is written beside the content, does no harm', async () => {
    database = await databaseWith(`
      alter table agentsession add updated_at timestamp;
      alter table agentinstruction add updated_at timestamp;
      alter table agentconnection add updated_at timestamp;
      ${trigger('new.updated_at := localtimestamp; return new;', 'trigger touch before update on agentsession for each row')}
      create trigger touch before update on agentconnection for each row execute function public.back();
      create function public.note() returns trigger language plpgsql as $$ begin
        new.updated_at := localtimestamp; new.instruction_metadata := new.instruction_metadata || '{"by": "trigger"}'; return new;
      end $$;
      create trigger touch before update on agentinstruction for each row execute function public.note();
      create function public.reason() returns trigger language plpgsql as $$ begin
        new.close_reason := upper(new.close_reason); new.closed_at := localtimestamp; return new; end $$;
      create trigger reason before update on agentconnection for each row execute function public.reason()`);
    await acknowledge(database.pool, await addInstruction(database.pool));
    await addConnection(database.pool);
    expect(await run(database, { walk })).toMatchObject({ result: 'Succeeded', rows: 4 });
    expect(await countOf(database.pool, 'agentinstruction', `instruction_metadata ? 'by'`)).toBe(1);
  });

  test('a trigger that keeps the old content beside the note is no success', async () => {
    database = await databaseWith(
      trigger(
        'new.payload := old.payload || new.payload; return new;',
        'trigger back before update on agentinstruction for each row',
      ),
    );
    await acknowledge(database.pool, await addInstruction(database.pool));
    await expectFailed('instructions', walk, 'agentinstruction');
  });

  test('where no row of thousands can be changed, the operation ends soon, and no other', async () => {
    database = await databaseWith(undoing['a BEFORE trigger that returns the old row']!('agentsession'));
    await database.pool.query(
      `insert into agentsession (session_id, agent_id, status, created_at, ended_at, experimental_parameters)
       select n::text, 'agent', 'completed', '2001-01-01', '2001-01-01', '{"dose": 1}' from generate_series(1, 5000) n`,
    );
    await addConnection(database.pool);
    let changes = 0;
    const connect = intercepting(database.url, (text) => {
      if (statements.archiveSessions.test(text)) changes += 1;
      return text;
    });
    expect(await run(database, { operations: ['connections', 'sessions'], walk, connect })).toMatchObject({
      result: 'Partial',
      operations: [
        { closed: 1 },
        { archived: 0, failed: 100, error: expect.stringContaining('gave up after 100 rows') },
      ],
    });
    expect(changes).toBeLessThan(300);
  });

  test('a trigger that comes while the run is at work is seen', async () => {
    database = await databaseWith('');
    await addSessions(database.pool, 3);
    const paused = pausing(connector(database.url), statements.archiveSessions);
    const result = run(database, { operations: ['sessions'], walk, connect: paused.connect });
    await paused.reached;
    await database.pool.query(undoing['a BEFORE trigger that returns the old row']!('agentsession'));
    paused.resume();
    expect(await result).toMatchObject({ result: 'Failed', operations: [{ archived: 0, failed: 3 }] });
  });
});

test.each(['no triggers at all', 'one that is switched off'])(
  'a table with %s is not looked at again',
  async (which) => {
    database = await databaseWith('');
    if (which !== 'no triggers at all') {
      await database.pool.query(undoing['a BEFORE trigger that returns the old row']!('agentsession'));
      await database.pool.query('alter table agentsession disable trigger back');
    }
    await addSessions(database.pool, 5);
    const sent: string[] = [];
    const connect = intercepting(database.url, (text) => {
      sent.push(text);
      return text;
    });
    expect(await run(database, { operations: ['sessions'], connect })).toMatchObject({ result: 'Succeeded', rows: 5 });
    const change = sent.findIndex((text) => statements.archiveSessions.test(text));
    const commit = sent.indexOf('commit', change);
    expect(sent.slice(change, commit).filter((text) => /from "public"\."agentsession"/.test(text))).toEqual([]);
  },
);

test('a trigger of one partition alone is noticed', async () => {
  database = await databaseWith(`
    alter table agentsession rename to agentsession_rows;
    create table agentsession (like agentsession_rows including defaults including identity, unique (id)) partition by list (id);
    create table agentsession_one partition of agentsession for values in (1);
    create table agentsession_rest partition of agentsession default;
    create function public.back() returns trigger language plpgsql as $$ begin return old; end $$;
    create trigger back before update on agentsession_one for each row execute function public.back();`);
  await addSessions(database.pool, 3);
  expect(await run(database, { operations: ['sessions'] })).toMatchObject({
    result: 'Partial',
    operations: [{ archived: 2, failed: 1 }],
  });
});
