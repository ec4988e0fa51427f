import type { Client } from 'pg';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { ConfigurationError } from '../../src/database/config.ts';
import { checksums } from '../support/data/checksum.ts';
import { addInstruction, countOf } from '../support/data/due-rows.ts';
import { filledDatabase, instant } from '../support/data/filled.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { connector, run, statistics } from '../support/retention.ts';

let database: TestDatabase;
afterEach(async () => {
  // Where a test has made them: they outlive a database, or keep it.
  await database?.pool.query('drop subscription if exists acknowledgements');
  for (const role of [database?.name, `${database?.name}_owner`]) {
    await database?.pool.query(
      `do $$ begin
         if exists (select from pg_roles where rolname = '${role}') then drop owned by ${role}; drop role ${role}; end if;
       end $$`,
    );
  }
  await database?.drop();
});

const dropKey =
  'alter table agentinstructionacknowledgement drop constraint agentinstructionacknowledgement_instruction_id_fkey';
const dropIndex = 'drop index ix_agentinstructionacknowledgement_instruction_id';
const addKey = /alter table "public"\."agentinstructionacknowledgement" add foreign key \(instruction_id\) references/;
const validateKey = /alter table "public"\."agentinstructionacknowledgement" validate constraint "agentinstructionack/;
const enableTrigger =
  /alter table "public"\."agentinstruction(acknowledgement)?" enable trigger "RI_ConstraintTrigger_/;
const enableAlways =
  /alter table "public"\."agentinstructionacknowledgement" enable always trigger "RI_ConstraintTrigger_/;
const notDeferrable =
  /alter table "public"\."agentinstructionacknowledgement" alter constraint "[a-z_]*" not deferrable/;
/** The acknowledgements in partitions, one of which has partitions of its own. */
const partitioned = [
  'alter table agentinstructionacknowledgement rename to former',
  `create table agentinstructionacknowledgement (like former including defaults, primary key (acknowledgement_id),
     foreign key (instruction_id) references agentinstruction (instruction_id)) partition by hash (acknowledgement_id)`,
  `create table acknowledgement_0 partition of agentinstructionacknowledgement for values with (modulus 2, remainder 0)
     partition by hash (acknowledgement_id)`,
  'create table acknowledgement_0_0 partition of acknowledgement_0 for values with (modulus 1, remainder 0)',
  'create table acknowledgement_1 partition of agentinstructionacknowledgement for values with (modulus 2, remainder 1)',
  'create index on agentinstructionacknowledgement (instruction_id)',
  'insert into agentinstructionacknowledgement select * from former',
  'drop table former',
];
const addIndex = /create index concurrently on "public"\."agentinstructionacknowledgement" \(instruction_id\)/;

const postgresMajor = () => Number.parseInt(inject('postgres').version, 10);

/** What keeps acknowledgements safe, taken away; and the DDL that must be asked for. */
const unsafe: [what: string, ddl: string[], missing: RegExp[]][] = [
  ['without a foreign key', [dropKey], [addKey]],
  [
    'with a foreign key that was never validated',
    [
      dropKey,
      `alter table agentinstructionacknowledgement
         add foreign key (instruction_id) references agentinstruction (instruction_id) not valid`,
    ],
    [validateKey],
  ],
  ...(postgresMajor() < 18
    ? []
    : ([
        [
          'with a foreign key that is not enforced',
          [
            dropKey,
            `alter table agentinstructionacknowledgement
               add foreign key (instruction_id) references agentinstruction (instruction_id) not enforced`,
          ],
          [
            /alter table "public"\."agentinstructionacknowledgement" alter constraint "agentinstructionack[a-z_]*" enforced/,
          ],
        ],
      ] as typeof unsafe)),
  [
    'with a foreign key whose check of new acknowledgements is off',
    ['alter table agentinstructionacknowledgement disable trigger all'],
    [enableTrigger, enableTrigger],
  ],
  [
    'with a foreign key that deletes do not look at',
    ['alter table agentinstruction disable trigger all'],
    [enableTrigger, enableTrigger],
  ],
  [
    'with a foreign key enforced on replicas only',
    [
      `do $$
         declare name text;
         begin
           for name in select tgname from pg_trigger where tgrelid = 'agentinstruction'::regclass and tgisinternal
           loop execute format('alter table agentinstruction enable replica trigger %I', name); end loop;
         end
       $$`,
    ],
    [enableTrigger, enableTrigger],
  ],
  [
    'with a foreign key that new acknowledgements may be checked by later',
    [
      `alter table agentinstructionacknowledgement
         alter constraint agentinstructionacknowledgement_instruction_id_fkey deferrable initially immediate`,
    ],
    [notDeferrable],
  ],
  [
    'with a foreign key that is checked at the commit',
    [
      dropKey,
      `alter table agentinstructionacknowledgement add foreign key (instruction_id)
         references agentinstruction (instruction_id) deferrable initially deferred`,
    ],
    [notDeferrable],
  ],
  [
    'with a partition of the acknowledgements whose triggers are off',
    [...partitioned, 'alter table acknowledgement_1 disable trigger all'],
    [/alter table "public"\."acknowledgement_1" enable trigger/, /"acknowledgement_1" enable trigger/],
  ],
  [
    'with a partition of a partition whose triggers fire on replicas only',
    [
      ...partitioned,
      `do $$
         declare name text;
         begin
           for name in select tgname from pg_trigger where tgrelid = 'acknowledgement_0_0'::regclass and tgisinternal
           loop execute format('alter table acknowledgement_0_0 enable replica trigger %I', name); end loop;
         end
       $$`,
    ],
    [/alter table "public"\."acknowledgement_0_0" enable trigger/, /"acknowledgement_0_0" enable trigger/],
  ],
  [
    'whose sessions check no foreign keys',
    [
      `do $$ begin
         execute format('alter database %I set session_replication_role = replica', current_database());
       end $$`,
    ],
    [/alter database DATABASE reset session_replication_role/],
  ],
  [
    'with an application whose sessions there check no foreign keys',
    [
      `do $$ begin
         execute format('create role %I', current_database());
         execute format('grant insert on agentinstructionacknowledgement to %I', current_database());
         execute format('alter role %1$I in database %1$I set session_replication_role = replica', current_database());
       end $$`,
    ],
    [/alter role "?\w+"? in database DATABASE reset session_replication_role/],
  ],
  [
    'with an application that inserts as a member of a role and checks no foreign keys',
    [
      `do $$ begin
         execute format('create role %I', current_database() || '_owner');
         execute format('create role %I noinherit in role %I', current_database(), current_database() || '_owner');
         execute format('grant insert on agentinstructionacknowledgement to %I', current_database() || '_owner');
         execute format('alter role %I set session_replication_role = replica', current_database());
       end $$`,
    ],
    [/alter role "?\w+"? reset session_replication_role/],
  ],
  [
    'into which a subscription writes acknowledgements without checking foreign keys',
    [
      `create subscription acknowledgements connection 'dbname=nowhere' publication elsewhere
         with (connect = false, slot_name = none)`,
      `insert into pg_subscription_rel (srsubid, srrelid, srsubstate)
       select oid, 'agentinstructionacknowledgement'::regclass, 'r' from pg_subscription
        where subdbid = (select oid from pg_database where datname = current_database())`,
    ],
    [enableAlways, enableAlways],
  ],
  ['without an index', [dropIndex], [addIndex]],
  [
    'with a partial index',
    [dropIndex, `create index on agentinstructionacknowledgement (instruction_id) where status = 'processed'`],
    [addIndex],
  ],
  [
    'with an index that failed to build',
    [
      `update pg_index set indisvalid = false
        where indexrelid = 'ix_agentinstructionacknowledgement_instruction_id'::regclass`,
    ],
    [addIndex],
  ],
  [
    'with an index that has it in second place',
    [dropIndex, 'create index on agentinstructionacknowledgement (session_id, instruction_id)'],
    [addIndex],
  ],
  [
    'with an index on an expression of it',
    [dropIndex, 'create index on agentinstructionacknowledgement ((instruction_id::text))'],
    [addIndex],
  ],
  [
    'with an index that only narrows down where to look',
    [dropIndex, 'create index on agentinstructionacknowledgement using brin (instruction_id uuid_minmax_ops)'],
    [addIndex],
  ],
  ['without both', [dropKey, dropIndex], [addKey, addIndex]],
];

describe.each(unsafe)('instructions, on a database %s', (_what, ddl, missing) => {
  test('fails before its first change and prints DDL that helps, while the other operations run', async () => {
    database = await filledDatabase('no-action');
    const client = await database.client();
    for (const statement of ddl) await client.query(statement);
    const before = await checksums(client);

    const dry = await run(database, { instant, dryRun: true });
    const real = await run(database, { instant });
    const [connections, instructions, sessions, acknowledgements] = real.operations;
    expect(real.result).toBe('Partial');
    expect(real.message).toContain(`instructions failed: ${instructions!.error}`);
    expect(instructions).toMatchObject({ name: 'instructions', batches: 0 });
    expect(instructions!.error).toMatch(/^nothing was changed: .*validated, enforced foreign key and an index/);
    for (const each of missing) expect(instructions!.error).toMatch(each);
    expect((await checksums(client)).agentinstruction).toBe(before.agentinstruction);
    for (const other of [connections, sessions, acknowledgements]) {
      expect(other!.error).toBeUndefined();
      expect(other!.batches).toBeGreaterThan(0);
    }
    expect(dry).toMatchObject({ result: 'Partial', operations: [{}, { error: instructions!.error }, {}, {}] });

    const statements = missingDdl(instructions!.error!);
    expect(statements).toHaveLength(missing.length);
    for (const statement of statements) await client.query(statement.replace('DATABASE', database.name));
    const healed = await run(database, { instant, operations: ['instructions'] });
    expect(healed.result).toBe('Succeeded');
    expect(healed.rows).toBeGreaterThan(0);
  });
});

const missingDdl = (error: string) => error.replace(/^.*Missing: /, '').match(/[^;]+;/g) ?? [];

test('instructions do not run in a session that checks no foreign keys itself, by the options of its connection', async () => {
  database = await createDatabase({ template: 'no-action' });
  await addInstruction(database.pool);
  const open = connector(database.url);
  const connect: typeof open = async (abandon) => {
    const client = await open(abandon);
    await client.query('set session_replication_role to replica');
    return client;
  };
  const result = await run(database, { operations: ['instructions', 'acknowledgements'], connect });
  expect(result).toMatchObject({
    result: 'Partial',
    operations: [{ error: expect.stringMatching(/^nothing was changed: .*session_replication_role/) }, { deleted: 0 }],
  });
  expect(await countOf(database.pool, 'agentinstruction')).toBe(1);
});

test.each([
  [
    'a role that inserts no acknowledgements',
    `execute format('create role %I', current_database());
      execute format('alter role %I set session_replication_role = replica', current_database());`,
  ],
  [
    'a role whose sessions check foreign keys, by its settings',
    `
      execute format('create role %I superuser', current_database());
      execute format('alter role %I set session_replication_role = origin', current_database());`,
  ],
  [
    'one whose sessions check this key always',
    `execute format('create role %I superuser', current_database());
      execute format('alter role %I set session_replication_role = replica', current_database());
      for name in select tgname from pg_trigger where tgrelid = 'agentinstructionacknowledgement'::regclass and tgisinternal
      loop execute format('alter table agentinstructionacknowledgement enable always trigger %I', name); end loop;`,
  ],
])('beside %s, instructions run', async (_who, body) => {
  database = await createDatabase({ template: 'no-action' });
  await addInstruction(database.pool);
  await database.pool.query(`do $$ declare name text; begin ${body} end $$`);
  expect(await run(database, { operations: ['instructions'] })).toMatchObject({ result: 'Succeeded', rows: 1 });
});

test('instructions alone, where it cannot run, is a failed run', async () => {
  database = await createDatabase({ template: 'cascade' });
  await database.pool.query(dropIndex);
  expect(await run(database, { operations: ['instructions'] })).toMatchObject({ result: 'Failed', rows: 0 });
});

describe('a schema that the operations do not fit is refused before anything is done', () => {
  const unfit: [what: string, ddl: string, sentence: RegExp][] = [
    [
      'a missing table',
      'drop table agentconnection',
      /table agentconnection does not exist in schema "public".*spec\.database\.schema/,
    ],
    ['a missing column', 'alter table agentsession drop column ended_at', /table agentsession has no column ended_at/],
    [
      'json instead of jsonb',
      'alter table agentinstruction alter column payload type json',
      /column agentinstruction\.payload has type json; it must be jsonb/,
    ],
    [
      'text instead of jsonb',
      'alter table agentsession alter column experimental_parameters type text',
      /column agentsession\.experimental_parameters has type text; it must be jsonb/,
    ],
    [
      'text instead of a time',
      'alter table agentinstruction alter column created_at drop default, alter column created_at type varchar',
      /column agentinstruction\.created_at has type character varying; it must be timestamp without time zone or timestamp with time zone/,
    ],
    [
      'a date instead of a time',
      'alter table agentinstructionacknowledgement alter column created_at type date',
      /column agentinstructionacknowledgement\.created_at has type date; it must be/,
    ],
  ];
  const keyed: typeof unfit = [
    [
      'ids that may occur twice',
      'alter table agentinstruction drop constraint agentinstruction_pkey',
      /table agentinstruction must have a unique index on id alone/,
    ],
    [
      'ids that are unique for some rows only',
      `alter table agentconnection drop constraint agentconnection_pkey;
       create unique index on agentconnection (id) where status = 'active'`,
      /table agentconnection must have a unique index on id alone/,
    ],
    [
      'ids that are unique together with the time, as a partitioned table has them',
      `drop table agentconnection;
       create table agentconnection (
         id integer not null, status varchar not null, created_at timestamp not null,
         last_heartbeat_at timestamp not null, closed_at timestamp, close_reason varchar, primary key (id, created_at)
       ) partition by range (created_at)`,
      /table agentconnection must have a unique index on id alone/,
    ],
    [
      'a table that another one inherits from, with ids of its own',
      'create table agentconnection_archive () inherits (agentconnection)',
      /table agentconnection has children by inheritance/,
    ],
    [
      'an enum instead of text as status',
      `create type state as enum ('active', 'completed');
       alter table agentsession alter column status drop default, alter column status type state using 'active'`,
      /column agentsession\.status has type public\.state; it must be character varying or text/,
    ],
  ];
  test.each(unfit)('%s', async (_what, ddl, sentence) => {
    database = await createDatabase({ template: 'no-action' });
    await database.pool.query(ddl);
    await expectRefused(sentence);
  });

  test.each(keyed)('%s, by runs and dry runs', async (_what, ddl, sentence) => {
    database = await createDatabase({ template: 'no-action' });
    await database.pool.query(ddl);
    for (const dryRun of [false, true]) await expect(run(database, { dryRun })).rejects.toThrow(sentence);
  });

  test('a view in place of a table', async () => {
    database = await createDatabase({ template: 'no-action' });
    await database.pool.query('alter table agentconnection rename to real');
    await database.pool.query('create view agentconnection as select * from real');
    await expectRefused(/agentconnection in schema "public" is a view; it must be a table/);
  });

  test('a schema that does not exist', async () => {
    database = await createDatabase({ template: 'no-action' });
    await expectRefused(/table agentsession does not exist in schema "Public"/, { schema: 'Public' });
  });

  test.each(['Mars/Olympus', 'UTC+25:61:61', "UTC'; drop table agentsession; --"])(
    'the time zone %s, which PostgreSQL does not know',
    async (timestampTimeZone) => {
      database = await createDatabase({ template: 'no-action' });
      await expectRefused(/^spec\.database\.timestampTimeZone: .*pg_timezone_names/, { timestampTimeZone });
      await expect(database.pool.query('select from agentsession')).resolves.toBeDefined();
    },
  );

  async function expectRefused(
    sentence: RegExp,
    overrides: { schema?: string; timestampTimeZone?: string } = {},
  ): Promise<void> {
    const attempts = [
      () => run(database, overrides),
      () => run(database, { ...overrides, dryRun: true }),
      () => statistics(database, overrides),
    ];
    for (const attempt of attempts) {
      const error = await attempt().catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(ConfigurationError);
      expect((error as Error).message).toMatch(sentence);
    }
  }
});

test('a schema with a name that needs quoting is worked on, and the tables in public are not', async () => {
  database = await filledDatabase('no-action');
  const client = await database.client();
  const schema = `Agents' "new"`;
  const dry = await run(database, { instant, dryRun: true });
  await client.query(`alter schema public rename to ${client.escapeIdentifier(schema)}`);
  await copyOfTables(client, schema);
  const before = await checksums(client);
  const real = await run(database, { instant, schema });
  expect(real).toMatchObject({ result: 'Succeeded', rows: dry.rows });
  expect(await checksums(client)).toEqual(before);
  expect((await statistics(database, { schema })).recordCounts.sessions).toEqual({ rows: 100 });
});

/** Tables of the same names, with the same rows, in schema public. */
async function copyOfTables(client: Client, schema: string): Promise<void> {
  await client.query('create schema public');
  for (const table of ['agentsession', 'agentinstruction', 'agentconnection', 'agentinstructionacknowledgement']) {
    await client.query(`create table public.${table} as select * from ${client.escapeIdentifier(schema)}.${table}`);
  }
}

describe('a change that the database swallows fails the operation, and is rolled back', () => {
  const swallowed: [what: string, ddl: string, table: string][] = [
    [
      'a trigger that keeps instructions',
      `create function keep() returns trigger language plpgsql as 'begin return null; end';
       create trigger keep before delete on agentinstruction for each row execute function keep()`,
      'agentinstruction',
    ],
    [
      'a rule that drops updates of sessions',
      'create rule keep as on update to agentsession do instead nothing',
      'agentsession',
    ],
  ];
  test.each(swallowed)('%s', async (_what, ddl, table) => {
    database = await filledDatabase('no-action');
    const client = await database.client();
    await client.query(ddl);
    const before = await checksums(client);
    const result = await run(database, { instant, operations: ['instructions', 'sessions'] });
    expect(result.result).toBe('Partial');
    expect(result.message).toMatch(
      new RegExp(`\\d+ rows of .*${table}.* were locked and 0 changed.*trigger or a rule`),
    );
    const after = await checksums(client);
    expect(after[table as keyof typeof after]).toBe(before[table as keyof typeof before]);
  });
});
