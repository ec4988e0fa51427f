import type { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { acknowledge } from '../support/data/due-rows.ts';
import { instant } from '../support/data/filled.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { blocks, pidOf } from '../support/postgres/sessions.ts';
import { run } from '../support/retention.ts';

// What archiving makes of every kind of JSON that an ORM leaves behind. `undefined` is SQL NULL.

type Json = string | undefined;
const old = '2001-02-03 04:05:06.789';
const archivedBefore = '{"archived": true, "archived_at": "2020-01-01T00:00:00.000001Z"}';

const untouched: Json[] = [
  undefined,
  'null',
  '{}',
  '[]',
  '{"archived": true, "archived_at": "2020-01-01T00:00:00.000001Z", "parameter_count": 3}',
];
/** What an application may have of its own: each is like a note, and none. */
const time = '"archived_at": "2020-01-01T00:00:00.000001Z"';
const counted: [parameters: string, count: number][] = [
  ['{"dose": 1}', 1],
  ['{"dose": 1, "grid": {"x": 1, "y": 2}, "none": null}', 3],
  ['[1]', 1],
  ['[[1, 2], {"a": 1}, null]', 3],
  ['["archived"]', 1],
  ['[{"archived": true}]', 1],
  ['"archived"', 1],
  ['""', 1],
  ['42', 1],
  ['0', 1],
  ['true', 1],
  ['false', 1],
  ['{"archived": false}', 1],
  ['{"archived": null}', 1],
  ['{"archived": "true", "b": 1}', 2],
  ['{"archived": 1}', 1],
  ['{"nested": {"archived": true}}', 1],
  ['{"archived": true}', 1],
  [`{"archived": true, ${time}}`, 2],
  [`{"archived": 1, ${time}, "parameter_count": 3}`, 3],
  [`{"archived": true, ${time}, "parameter_count": "3"}`, 3],
  ['{"archived": true, "archived_at": "soon", "parameter_count": 3}', 3],
  ['{"archived": true, "archived_at": null, "parameter_count": 3}', 3],
  [`{"dose": 1, "archived": true, ${time}, "parameter_count": 3}`, 4],
  ['"archived_at"', 1],
  ['["archived_at"]', 1],
];

const metadataKept: [metadata: Json, kept: object][] = [
  [undefined, {}],
  ['null', {}],
  ['{}', {}],
  ['{"source": "rules", "n": [1]}', { source: 'rules', n: [1] }],
  ['{"archived": false, "original_payload_size": 7}', {}],
  ['{"archived": true}', {}],
  ['{"original_metadata": "mine"}', { original_metadata: 'mine' }],
  ['[]', { original_metadata: [] }],
  ['[1, {"a": 2}]', { original_metadata: [1, { a: 2 }] }],
  ['"free text"', { original_metadata: 'free text' }],
  ['""', { original_metadata: '' }],
  ['42', { original_metadata: 42 }],
  ['0', { original_metadata: 0 }],
  ['true', { original_metadata: true }],
  ['false', { original_metadata: false }],
];
const payloadSizes: [payload: Json, size: number][] = [
  [undefined, 0],
  ['null', 4],
  ['{}', 2],
  ['[]', 2],
  ['42', 2],
  ['"archived"', 10],
  ['["archived"]', 12],
  ['"é€😀"', 11],
  ['{"archived":false}', 19],
  ['{"archived": null}', 18],
  ['{"archived": "true"}', 20],
  ['{"archived": true}', 18],
  [`{"archived": false, ${time}}`, 65],
  [`{"stage": 1, "archived": true, ${time}}`, 76],
  ['{"archived": true, "archived_at": 20200101}', 43],
  ['{"archived": true, "archived_at": "later"}', 42],
  ['"archived_at"', 13],
  ['["archived_at"]', 15],
  [`{"recipe": "${'x'.repeat(20_000)}"}`, 20_014],
];

let database: TestDatabase;
let client: Client;
beforeAll(async () => {
  database = await createDatabase({ template: 'cascade' });
  client = await database.client();
  await client.query(`insert into agentsession (session_id, agent_id) values ('running', 'agent')`);
});
afterAll(() => database?.drop());

async function addSession(parameters: Json): Promise<string> {
  const { rows } = await client.query<{ session_id: string }>(
    `insert into agentsession (session_id, agent_id, status, ended_at, experimental_parameters)
     values (gen_random_uuid()::text, 'agent', 'completed', $1, $2) returning session_id`,
    [old, parameters],
  );
  return rows[0]!.session_id;
}

async function addInstruction(payload: Json, metadata: Json, acknowledged: boolean): Promise<string> {
  const { rows } = await client.query<{ instruction_id: string }>(
    `insert into agentinstruction (session_id, agent_id, instruction_type, status, created_at, payload, instruction_metadata)
     values ('running', 'agent', 'move', 'failed', $1, $2, $3) returning instruction_id`,
    [old, payload, metadata],
  );
  const { instruction_id } = rows[0]!;
  if (acknowledged) await acknowledge(client, instruction_id);
  return instruction_id;
}

/** Runs, and twice more: what was archived must not be archived again. */
async function archive(operation: 'sessions' | 'instructions'): Promise<void> {
  await run(database, { instant, operations: [operation] });
  const again = await run(database, { instant: '2099-01-01T00:00:00.000001Z', operations: [operation] });
  expect(again).toMatchObject({ result: 'Succeeded', rows: 0 });
}

describe('sessions', () => {
  const parametersOf = async (id: string) =>
    (
      await client.query<{ text: string | null }>(
        'select experimental_parameters::text as text from agentsession where session_id = $1',
        [id],
      )
    ).rows[0]!.text;

  test.each(untouched)('leaves %s as it is', async (parameters) => {
    const id = await addSession(parameters);
    await archive('sessions');
    expect(await parametersOf(id)).toBe(parameters ?? null);
  });

  test.each(counted)('archives %s as %i parameters', async (parameters, parameter_count) => {
    const id = await addSession(parameters);
    await archive('sessions');
    expect(JSON.parse((await parametersOf(id))!)).toEqual({ archived: true, archived_at: instant, parameter_count });
  });
});

describe('instructions', () => {
  const contentOf = async (id: string) =>
    (
      await client.query<{ payload: unknown; metadata: unknown }>(
        `select payload, instruction_metadata as metadata from agentinstruction where instruction_id = $1`,
        [id],
      )
    ).rows[0];
  const archived = { archived: true, archived_at: instant };

  test.each(metadataKept)('archives metadata %s', async (metadata, kept) => {
    const id = await addInstruction('{"x": 1}', metadata, true);
    await archive('instructions');
    expect(await contentOf(id)).toEqual({
      payload: archived,
      metadata: { ...kept, archived: true, original_payload_size: 8 },
    });
  });

  test.each(payloadSizes)('archives payload %.40s, of which the size is kept: %i', async (payload, size) => {
    const id = await addInstruction(payload, '{"source": "rules"}', true);
    await archive('instructions');
    expect(await contentOf(id)).toEqual({
      payload: archived,
      metadata: { source: 'rules', archived: true, original_payload_size: size },
    });
  });

  test('leaves an archived one with acknowledgements as it is, whatever its metadata', async () => {
    const metadata = [undefined, 'null', '[1]', '7', '{"archived": true, "original_payload_size": 12}'];
    const ids: string[] = [];
    for (const each of metadata) ids.push(await addInstruction(archivedBefore, each, true));
    await archive('instructions');
    for (const [index, id] of ids.entries()) {
      const each = metadata[index];
      expect(await contentOf(id)).toEqual({
        payload: JSON.parse(archivedBefore),
        metadata: each === undefined ? null : JSON.parse(each),
      });
    }
  });

  test.each(['read committed', 'serializable'])(
    'leaves an archived one as it is when its first acknowledgement comes while the run waits for it, default isolation %s',
    async (isolation) => {
      const id = await addInstruction(archivedBefore, '{"source": "rules"}', false);
      const name = client.escapeIdentifier(database.name);
      await client.query(`alter database ${name} set default_transaction_isolation to '${isolation}'`);
      const writer = await database.client();
      await writer.query('begin');
      await acknowledge(writer, id);
      const result = run(database, { instant, operations: ['instructions'], limits: { lockTimeout: '30s' } });
      await blocks(database, await pidOf(writer));
      await writer.query('commit');
      expect(await result).toMatchObject({ result: 'Succeeded', operations: [{ archived: 0, deleted: 0 }] });
      expect(await contentOf(id)).toEqual({ payload: JSON.parse(archivedBefore), metadata: { source: 'rules' } });
      await client.query(`alter database ${name} reset default_transaction_isolation`);
    },
  );

  test('deletes one without acknowledgements, archived or not, whatever its content', async () => {
    const contents = [archivedBefore, ...payloadSizes.map(([payload]) => payload)];
    const ids: string[] = [];
    for (const payload of contents) {
      for (const metadata of ['{"archived": true}', '[1]', 'null', undefined]) {
        ids.push(await addInstruction(payload, metadata, false));
      }
    }
    expect(await run(database, { instant, operations: ['instructions'] })).toMatchObject({
      operations: [{ archived: 0, deleted: ids.length }],
    });
    for (const id of ids) expect(await contentOf(id)).toBeUndefined();
  });
});

test('a connection is closed and never deleted, even by the shortest period and many years later', async () => {
  await client.query(
    `insert into agentconnection (connection_id, session_id, agent_id, status, last_heartbeat_at)
     select status, 'running', 'agent', status, $1 from unnest(array['active', 'closed', 'timeout']) status`,
    [old],
  );
  const one = { connectionCleanupHours: 1 };
  await run(database, { instant, retention: one });
  await run(database, { instant: '2099-01-01T00:00:00.000001Z', retention: one });
  const { rows } = await client.query(
    `select connection_id, status, closed_at::text as closed_at, close_reason from agentconnection order by 1`,
  );
  expect(rows).toEqual([
    {
      connection_id: 'active',
      status: 'timeout',
      closed_at: '2026-11-23 10:20:30.123456',
      close_reason: 'Stale connection cleanup after 1h',
    },
    { connection_id: 'closed', status: 'closed', closed_at: null, close_reason: null },
    { connection_id: 'timeout', status: 'timeout', closed_at: null, close_reason: null },
  ]);
});
