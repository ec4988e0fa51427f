import { afterEach, describe, expect, test } from 'vitest';
import {
  acknowledge,
  addConnection,
  addInstruction,
  addInstructions,
  addOldAcknowledgements,
  addSessions,
  countOf,
} from '../support/data/due-rows.ts';
import { databaseWith, type TestDatabase } from '../support/postgres/database.ts';
import { intercepting, run } from '../support/retention.ts';

let database: TestDatabase;
afterEach(() => database.drop());

/** A trigger that raises for some rows of a table, by a condition on `old`. */
const raising = (table: string, event: string, condition: string) => `
  create function veto() returns trigger language plpgsql as $$
  begin if ${condition} then raise 'this row stays'; end if; return coalesce(new, old); end $$;
  create trigger veto before ${event} on ${table} for each row execute function veto()`;

describe.each(['list', 'keyset', 'blocks'] as const)('by the walk %s, a row', (walk) => {
  test('whose deletion a trigger refuses is left, counted and named, and all others are done', async () => {
    database = await databaseWith(raising('agentinstruction', 'delete', 'old.id = 17'));
    await addInstructions(database.pool, 60);
    await acknowledge(database.pool, await addInstruction(database.pool));
    const result = await run(database, { operations: ['instructions', 'sessions'], walk });
    expect(result).toMatchObject({
      result: 'Partial',
      operations: [
        { name: 'instructions', deleted: 59, archived: 1, failed: 1, skipped: 0 },
        { name: 'sessions', archived: 2 },
      ],
      message: expect.stringMatching(/1 rows could not be changed.*id 17: this row stays/),
    });
    const { rows } = await database.pool.query("select id from agentinstruction where payload ? 'stage'");
    expect(rows).toEqual([{ id: 17 }]);
  });

  test('that another kind of constraint refuses is left, in every operation', async () => {
    database = await databaseWith(`
      create table statuses (name varchar primary key);
      insert into statuses values ('active'), ('closed');
      alter table agentsession add column note varchar;
      alter table agentsession add check (note is null or experimental_parameters ? 'dose')`);
    await addSessions(database.pool, 30);
    await database.pool.query(`update agentsession set note = 'keep' where id in (4, 5)`);
    await addConnection(database.pool);
    await database.pool.query('alter table agentconnection add foreign key (status) references statuses (name)');
    expect(await run(database, { operations: ['connections', 'sessions'], walk })).toMatchObject({
      result: 'Partial',
      operations: [
        { closed: 0, failed: 1, error: expect.stringContaining('violates foreign key constraint') },
        { archived: 29, failed: 2, message: expect.stringContaining('id 4: new row for relation') },
      ],
    });
  });

  test('whose change a trigger swallows is left like one that it refuses', async () => {
    database = await databaseWith(`
      create function keep() returns trigger language plpgsql as $$
      begin if old.result = 'keep' then return null; end if; return old; end $$;
      create trigger keep before delete on agentinstructionacknowledgement for each row execute function keep()`);
    await addOldAcknowledgements(database.pool, await addInstruction(database.pool), 40);
    await database.pool.query(
      `update agentinstructionacknowledgement set result = 'keep'
        where acknowledgement_id = (select acknowledgement_id from agentinstructionacknowledgement limit 1)`,
    );
    expect(await run(database, { operations: ['acknowledgements'], walk })).toMatchObject({
      result: 'Partial',
      operations: [{ deleted: 39, failed: 1, skipped: 0 }],
    });
  });

  test('that raises an error of a function it calls, such as a missing privilege, is left too', async () => {
    database = await databaseWith(
      raising('agentinstruction', 'delete', 'old.id = 2').replace(
        `raise 'this row stays'`,
        `raise insufficient_privilege using message = 'not this one'`,
      ),
    );
    await addInstructions(database.pool, 3);
    expect(await run(database, { operations: ['instructions'], walk })).toMatchObject({
      operations: [{ deleted: 2, failed: 1, message: expect.stringContaining('id 2: not this one') }],
    });
  });

  test('whose trigger waits for a lock that somebody keeps is left', async () => {
    database = await databaseWith(`
      create table counter (id int primary key, n int); insert into counter values (2, 0);
      create function count_it() returns trigger language plpgsql as $$
      begin update counter set n = n + 1 where id = old.id; return old; end $$;
      create trigger count_it before delete on agentinstruction for each row execute function count_it()`);
    await addInstructions(database.pool, 3);
    const holder = await database.client();
    await holder.query('begin; select from counter for update');
    const result = await run(database, { operations: ['instructions'], walk, limits: { lockTimeout: '50ms' } });
    expect(result).toMatchObject({ result: 'Partial', operations: [{ deleted: 2, failed: 1, skipped: 0 }] });
  });

  test('like nearly all others ends the operation after a hundred, and no other operation', async () => {
    database = await databaseWith(raising('agentinstruction', 'delete', 'old.id <> 1'));
    await addInstructions(database.pool, 1_000);
    let deletes = 0;
    const connect = intercepting(database.url, (text) => {
      if (/^delete/.test(text)) deletes += 1;
      return text;
    });
    const result = await run(database, { operations: ['instructions', 'sessions'], walk, connect });
    expect(result).toMatchObject({
      result: 'Partial',
      operations: [
        { failed: 100, error: expect.stringMatching(/^gave up after 100 rows failed; the first: \d+: this row stays/) },
        { name: 'sessions', archived: 1 },
      ],
    });
    // Halving finds a bad row by as many attempts as the batch has bits.
    expect(deletes).toBeLessThan(1_100);
    expect(await countOf(database.pool, 'agentinstruction')).toBeGreaterThan(900);
  });
});

test.each(['55000', '28000', 'XX000', '57014', '53400', '25006', '08000', 'P0001', '42501'])(
  'whatever SQLSTATE a trigger raises for a row, such as %s, that row alone is left',
  async (code) => {
    database = await databaseWith(
      raising('agentinstruction', 'delete', 'old.id = 7').replace(
        `raise 'this row stays'`,
        `raise exception 'legal hold' using errcode = '${code}'`,
      ),
    );
    await addInstructions(database.pool, 20);
    const result = await run(database, { operations: ['instructions'] });
    expect(result).toMatchObject({ result: 'Partial', operations: [{ deleted: 19, failed: 1 }] });
    expect(result.message).toContain('id 7: legal hold');
  },
);

test('an error in a function that a trigger calls costs its row alone', async () => {
  database = await databaseWith(`
    create sequence counter;
    create function veto() returns trigger language plpgsql as $$
    begin if old.id = 2 then perform currval('counter'); end if; return old; end $$;
    create trigger veto before delete on agentinstruction for each row execute function veto()`);
  await addInstructions(database.pool, 4);
  expect(await run(database, { operations: ['instructions'] })).toMatchObject({
    operations: [{ deleted: 3, failed: 1 }],
  });
});

test('a second run after rows have failed fails for the same rows alone, and does the rest', async () => {
  database = await databaseWith(raising('agentinstruction', 'delete', 'old.id = 3'));
  await addInstructions(database.pool, 5);
  await run(database, { operations: ['instructions'] });
  await addInstructions(database.pool, 2);
  expect(await run(database, { operations: ['instructions'] })).toMatchObject({
    result: 'Partial',
    operations: [{ deleted: 2, failed: 1 }],
  });
});

test('what is no fault of a row, such as a missing privilege of the role, ends the operation at once', async () => {
  database = await databaseWith('');
  await addInstructions(database.pool, 50);
  let deletes = 0;
  const connect = intercepting(database.url, (text) => {
    if (!/^delete/.test(text)) return text;
    deletes += 1;
    return 'delete from pg_catalog.no_such_table where $1::pg_catalog.text is null';
  });
  expect(await run(database, { operations: ['instructions'], connect })).toMatchObject({
    result: 'Failed',
    operations: [{ deleted: 0, error: expect.stringContaining('no_such_table') }],
  });
  expect(deletes).toBe(1);
});
