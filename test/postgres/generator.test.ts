import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { agentTables, checksums } from '../support/data/checksum.ts';
import { type GeneratedCounts, generate } from '../support/data/generator.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { variants } from '../support/postgres/schema.ts';

const now = '2026-11-23 10:20:30.123456Z';
const options = { seed: 7, sessions: 200, instructions: 5000, connections: 500, now };

const statuses = {
  agentsession: ['active', 'completed', 'ended', 'error', 'inactive', 'terminated'],
  agentinstruction: ['acknowledged', 'completed', 'expired', 'failed', 'pending', 'sent'],
  agentconnection: ['active', 'closed', 'timeout'],
  agentinstructionacknowledgement: ['declined', 'failed', 'processed', 'received'],
};

const jsonColumns = [
  ['agentsession', 'experimental_parameters'],
  ['agentinstruction', 'instruction_metadata'],
  ['agentconnection', 'client_info'],
  ['agentinstructionacknowledgement', 'acknowledgement_metadata'],
] as const;

describe.each(variants)('generated data in the variant %s', (template) => {
  let database: TestDatabase;
  let counts: GeneratedCounts;

  beforeAll(async () => {
    database = await createDatabase({ template });
    counts = await generate(await database.client(), options);
  });
  afterAll(() => database?.drop());

  async function value(sql: string): Promise<unknown> {
    const { rows } = await database.pool.query<{ value: unknown }>(`select (${sql}) as value`);
    return rows[0]?.value;
  }

  test('has as many rows as it says, and about one acknowledgement per instruction', async () => {
    const count = async (table: string) => Number(await value(`select count(*) from ${table}`));
    expect(counts).toEqual({
      sessions: await count('agentsession'),
      instructions: await count('agentinstruction'),
      acknowledgements: await count('agentinstructionacknowledgement'),
      connections: await count('agentconnection'),
    });
    expect(counts).toMatchObject({ sessions: 200, instructions: 5000, connections: 500 });
    expect(counts.acknowledgements / counts.instructions).toBeCloseTo(1, 1);
  });

  test.each(agentTables)('has every status in %s', async (table) => {
    expect(await value(`select array_agg(distinct status::text order by status::text) from ${table}`)).toEqual(
      statuses[table],
    );
  });

  test.each(jsonColumns)('has every kind of JSON in %s.%s', async (table, column) => {
    const kind = `case when ${column} is null then 'SQL NULL' when ${column} in ('{}', '[]', 'null') then ${column}::text
      else jsonb_typeof(${column}) end`;
    expect(
      await value(`select array_agg(distinct ${kind} collate "C" order by ${kind} collate "C") from ${table}`),
    ).toEqual(['SQL NULL', '[]', 'array', 'boolean', 'null', 'number', 'object', 'string', '{}']);
  });

  test('has payloads of 0.5–2 kB, empty ones, and archived ones with and without acknowledgements', async () => {
    const size = 'octet_length(payload::text)';
    expect(await value(`select min(${size}) from agentinstruction where payload ? 'recipe'`)).toBeGreaterThan(500);
    expect(await value(`select max(${size}) from agentinstruction`)).toBeLessThan(2100);
    const acknowledged =
      'exists (select from agentinstructionacknowledgement a where a.instruction_id = i.instruction_id)';
    expect(
      await value(`select array_agg(distinct coalesce(payload ->> 'archived', payload::text) || ' ' || ${acknowledged})
        from agentinstruction i where payload in ('null', '{}', '[]') or payload -> 'archived' = 'true'`),
    ).toHaveLength(8);
    expect(await value('select count(*) from agentinstruction where payload is null')).not.toBe('0');
  });

  test('has times with microseconds, none after the given instant, spread over the given days', async () => {
    const instant = `timestamptz '${now}' at time zone 'UTC'`;
    for (const table of agentTables) {
      expect(
        await value(`select count(*) from ${table} where extract(microseconds from created_at)::int % 1000 > 0`),
      ).not.toBe('0');
      expect(await value(`select max(created_at) < ${instant} from ${table}`)).toBe(true);
      const oldest = await value(`select extract(day from ${instant} - min(created_at))::int from ${table}`);
      expect(oldest).toBeGreaterThan(2980);
      expect(oldest).toBeLessThanOrEqual(3000);
    }
  });

  test('has sessions older than their instructions and connections, and these older than their acknowledgements', async () => {
    expect(
      await value(`select count(*) from agentinstruction i join agentsession s using (session_id)
        where s.created_at >= i.created_at or i.created_at > s.ended_at`),
    ).toBe('0');
    expect(
      await value(`select count(*) from agentconnection c join agentsession s using (session_id)
        where s.created_at >= c.created_at`),
    ).toBe('0');
    expect(
      await value(`select count(*) from agentinstructionacknowledgement a join agentinstruction i using (instruction_id)
        where i.created_at >= a.created_at or a.session_id <> i.session_id`),
    ).toBe('0');
  });

  test('has ids and places in the table that follow time, as the statistics it leaves say', async () => {
    for (const table of agentTables) {
      expect(
        await value(`select min(correlation) from pg_stats
          where tablename = '${table}' and attname in ('id', 'created_at')`),
      ).toBeGreaterThan(0.99);
    }
  });
});

test('the same seed gives the same rows, another seed others', async () => {
  const databases = await Promise.all([1, 2, 3].map(() => createDatabase({ template: 'no-action' })));
  try {
    const [first, second, other] = await Promise.all(
      databases.map(async (database, i) => {
        const client = await database.client();
        await generate(client, { ...options, instructions: 2000, seed: i === 2 ? 8 : 7 });
        return checksums(client);
      }),
    );
    expect(second).toEqual(first);
    for (const table of agentTables) expect(other?.[table]).not.toBe(first?.[table]);
  } finally {
    await Promise.all(databases.map((database) => database.drop()));
  }
});

test('shuffled data are the same rows with ids in no order', async () => {
  const [ordered, shuffled] = [
    await createDatabase({ template: 'cascade' }),
    await createDatabase({ template: 'cascade' }),
  ];
  try {
    await generate(await ordered.client(), options);
    await generate(await shuffled.client(), { ...options, shuffled: true });
    const [one, other] = [await ordered.client(), await shuffled.client()];
    expect(await checksums(other, ['id'])).toEqual(await checksums(one, ['id']));
    const { rows } = await other.query<{ correlation: number }>(
      'select corr(id, extract(epoch from created_at)) as correlation from agentinstruction',
    );
    expect(Math.abs(rows[0]?.correlation ?? 1)).toBeLessThan(0.1);
  } finally {
    await Promise.all([ordered.drop(), shuffled.drop()]);
  }
});

test('a checksum sees a change from JSON null to SQL NULL, unless the column is left out', async () => {
  const database = await createDatabase({ template: 'no-action' });
  try {
    const client = await database.client();
    await generate(client, { ...options, instructions: 500, sessions: 20 });
    const before = [await checksums(client), await checksums(client, ['instruction_metadata'])];
    await client.query(`update agentinstruction set instruction_metadata = null where instruction_metadata = 'null'`);
    const after = [await checksums(client), await checksums(client, ['instruction_metadata'])];
    expect(after[0]?.agentinstruction).not.toBe(before[0]?.agentinstruction);
    expect(after[0]?.agentsession).toBe(before[0]?.agentsession);
    expect(after[1]).toEqual(before[1]);
  } finally {
    await database.drop();
  }
});
