import type { Client } from 'pg';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { ConfigurationError } from '../../src/database/config.ts';
import { checksums } from '../support/data/checksum.ts';
import { filledDatabase, instant } from '../support/data/filled.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { run, statistics } from '../support/retention.ts';

let database: TestDatabase;
afterEach(() => database?.drop());

const dropKey =
  'alter table agentinstructionacknowledgement drop constraint agentinstructionacknowledgement_instruction_id_fkey';
const dropIndex = 'drop index ix_agentinstructionacknowledgement_instruction_id';
const addKey = /alter table "public"\."agentinstructionacknowledgement" add foreign key \(instruction_id\) references/;
const validateKey = /alter table "public"\."agentinstructionacknowledgement" validate constraint "agentinstructionack/;
const enableTrigger =
  /alter table "public"\."agentinstruction(acknowledgement)?" enable trigger "RI_ConstraintTrigger_/;
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
    for (const statement of statements) await client.query(statement);
    const healed = await run(database, { instant, operations: ['instructions'] });
    expect(healed.result).toBe('Succeeded');
    expect(healed.rows).toBeGreaterThan(0);
  });
});

const missingDdl = (error: string) => error.replace(/^.*Missing: /, '').match(/[^;]+;/g) ?? [];

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
