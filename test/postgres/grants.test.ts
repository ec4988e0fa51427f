import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { effectiveRetention } from '../../src/api/effective.ts';
import type { PresetName } from '../../src/api/presets.ts';
import { type CleanupOperation, cleanupOperations, limitsSchema } from '../../src/api/spec.ts';
import { grants } from '../../src/retention/grants.ts';
import { countOf } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { type RunOverrides, run, statistics } from '../support/retention.ts';

// Everything runs as a role that owns nothing and has what `retention grants` prints, no more and no less.

const role = `Retention's "role" ${randomBytes(4).toString('hex')}`;
const schema = 'Agent data';
const password = randomBytes(8).toString('hex');

const policies = [
  ['ScientificCompliance', { preset: 'ScientificCompliance' }, ['connections', 'instructions', 'sessions']],
  ['Development', { preset: 'Development' }, cleanupOperations],
] as const satisfies [string, RunOverrides, readonly CleanupOperation[]][];

describe.each(policies)('the role of %s', (preset, overrides, operations) => {
  const retention = effectiveRetention({ preset });
  const sql = grants(role, schema, retention);
  let database: TestDatabase;
  let owner: Client;
  let asRole: { url: string };

  beforeAll(async () => {
    database = await createDatabase({ template: 'no-action' });
    owner = await database.client();
    const name = owner.escapeIdentifier(role);
    await owner.query(`alter schema public rename to ${owner.escapeIdentifier(schema)}`);
    await owner.query(`revoke all on schema ${owner.escapeIdentifier(schema)} from public`);
    await owner.query(`set search_path to ${owner.escapeIdentifier(schema)}`);
    await owner.query(`create role ${name} login password '${password}'`);
    const url = new URL(database.url);
    url.username = encodeURIComponent(role);
    url.password = password;
    asRole = { url: url.href };
  });
  afterAll(async () => {
    await owner?.query(`drop owned by ${owner.escapeIdentifier(role)}`);
    await owner?.query(`drop role ${owner.escapeIdentifier(role)}`);
    await database?.drop();
  });

  const asked: RunOverrides = { ...overrides, schema };
  const statisticsAsRole = () => statistics(asRole, { schema, retention });

  test('runs cleanup, dry run and statistics, whatever is due', async () => {
    await owner.query(sql);
    await addDueRows(owner);
    const dry = await run(asRole, { ...asked, dryRun: true });
    expect(dry).toMatchObject({ result: 'DryRun', operations: operations.map((name) => ({ name })) });
    const collected = await statisticsAsRole();
    expect(collected).toMatchObject({ recordCounts: { acknowledgements: { rows: 2 } }, due: { sessions: 1 } });
    const real = await run(asRole, asked);
    expect(real).toMatchObject({ result: 'Succeeded', rows: dry.rows });
    expect(real.rows).toBe(operations.length + 1);
    expect(real.operations.every(({ batches }) => batches > 0)).toBe(true);
  });

  test.each(privilegesIn(sql))('cannot do without %s on %s', async (privilege, object) => {
    await owner.query(sql);
    await addDueRows(owner);
    await owner.query(`revoke ${privilege} on ${object} from ${owner.escapeIdentifier(role)}`);
    const { result, message } = await run(asRole, asked);
    expect(['Partial', 'Failed']).toContain(result);
    expect(message).toMatch(/permission denied.*`retention grants` prints/);
  });

  test('takes no instruction for one without acknowledgements where a policy hides these from it', async () => {
    await owner.query(sql);
    await addDueRows(owner);
    await owner.query('alter table agentinstructionacknowledgement enable row level security');
    try {
      const { result, operations } = await run(asRole, { ...asked, operations: ['instructions'] });
      expect(result).toBe('Failed');
      expect(operations).toMatchObject([{ error: expect.stringMatching(/would be affected by row-level security/) }]);
      expect(await countOf(owner, 'agentinstruction')).toBe(2);
    } finally {
      await owner.query('alter table agentinstructionacknowledgement disable row level security');
    }
  });

  test('may not delete connections or sessions, nor change what was said of whom and when', async () => {
    await owner.query(sql);
    const client = await database.client();
    await client.query(`set search_path to ${client.escapeIdentifier(schema)}`);
    await client.query(`set role ${client.escapeIdentifier(role)}`);
    const forbidden = [
      'delete from agentconnection',
      'delete from agentsession',
      `update agentinstruction set status = 'x'`,
      'update agentinstruction set created_at = now()',
      `update agentsession set status = 'x'`,
      `update agentconnection set session_id = 'x'`,
      `update agentinstructionacknowledgement set status = 'x'`,
      `insert into agentconnection (connection_id, session_id, agent_id) values ('x', 'x', 'x')`,
      'truncate agentinstructionacknowledgement',
      ...(preset === 'ScientificCompliance' ? ['delete from agentinstructionacknowledgement'] : []),
    ];
    for (const statement of forbidden) await expect(client.query(statement)).rejects.toThrow(/permission denied/);
  });

  test('fails in one operation only where it lacks a right on one table', async () => {
    await owner.query(sql);
    await addDueRows(owner);
    await owner.query(`revoke update (status) on agentconnection from ${owner.escapeIdentifier(role)}`);
    await owner.query(`revoke update (experimental_parameters) on agentsession from ${owner.escapeIdentifier(role)}`);
    const result = await run(asRole, asked);
    expect(result.result).toBe('Partial');
    for (const { name, error, closed, archived, batches } of result.operations) {
      const fails = name === 'connections' || name === 'sessions';
      expect({ name, failed: error !== undefined, worked: batches > 0 }).toEqual({
        name,
        failed: fails,
        worked: !fails,
      });
      if (fails) expect([closed ?? archived, error]).toEqual([0, expect.stringMatching(/permission denied for table/)]);
      expect(result.message?.includes(`${name} failed: `)).toBe(fails);
    }
  });
});

test('a policy that keeps acknowledgements for seven years gives no right to delete them', () => {
  const sql = (days: number) =>
    grants('r', 'public', { ...effectiveRetention({ preset: 'Custom' }), acknowledgementRetentionDays: days });
  expect(sql(2555)).toContain('grant select on "public"."agentinstructionacknowledgement" to "r";');
  expect(sql(2554)).toContain(
    'grant select, delete, update (acknowledgement_id) on "public"."agentinstructionacknowledgement" to "r";',
  );
});

test('a policy’s limits ask for rights of their own: to see replication, and, as a comment, to vacuum what it changes', () => {
  const sql = (preset: PresetName, limits: object) =>
    grants('r', 'public', effectiveRetention({ preset }), limitsSchema.parse(limits)).split('\n');
  expect(sql('Development', { maxReplicationLag: '1Gi' })).toContain('grant pg_read_all_stats to "r";');
  expect(sql('Development', {}).join('\n')).not.toContain('pg_read_all_stats');
  expect(sql('Development', {})).toContain(
    '-- grant maintain on "public"."agentconnection", "public"."agentinstruction", "public"."agentsession", "public"."agentinstructionacknowledgement" to "r";',
  );
  expect(sql('ScientificCompliance', {})).toContain(
    '-- grant maintain on "public"."agentconnection", "public"."agentinstruction", "public"."agentsession" to "r";',
  );
  expect(sql('Development', { vacuum: false }).join('\n')).not.toMatch(/maintain|vacuum/);
});

/** Every single privilege that grant statements give, and on what: columns one by one. */
function privilegesIn(sql: string): [privilege: string, object: string][] {
  return sql
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('--'))
    .flatMap((line) => {
      const [, list, object] = /^grant (.*) on (.*) to ".*";$/.exec(line)!;
      return [...list!.matchAll(/(\w+)(?: \(([^)]*)\))?/g)].flatMap(([, right, columns]) =>
        columns === undefined
          ? [[right, object] as [string, string]]
          : columns.split(', ').map((column): [string, string] => [`${right} (${column})`, object!]),
      );
    });
}

/** A connection, an instruction of each kind, a session, and an acknowledgement that are due; nothing else. */
async function addDueRows(client: Client): Promise<void> {
  const old = `timestamp '2001-01-01'`;
  await client.query('truncate agentsession, agentinstruction, agentconnection, agentinstructionacknowledgement');
  await client.query(
    `insert into agentsession (session_id, agent_id, status, ended_at, experimental_parameters)
     values ('s', 'a', 'completed', ${old}, '{"dose": 1}')`,
  );
  await client.query(
    `insert into agentconnection (connection_id, session_id, agent_id, last_heartbeat_at) values ('c', 's', 'a', ${old})`,
  );
  await client.query(
    `with made as (
       insert into agentinstruction (session_id, agent_id, instruction_type, status, created_at)
       values ('s', 'a', 'acknowledged', 'completed', ${old}), ('s', 'a', 'unacknowledged', 'completed', ${old})
       returning instruction_id, instruction_type
     )
     insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status, created_at)
     select instruction_id, 'a', 's', 'received', time from made, (values (${old}), (now())) times (time)
      where instruction_type = 'acknowledged'`,
  );
}
