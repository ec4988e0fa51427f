import type { ClientBase, Pool } from 'pg';

/** A connection or a pool of them. */
export type Queryable = Pick<ClientBase | Pool, 'query'>;

/** Everything older than this is due under every preset. */
const old = `now() - interval '100 years'`;

/** Empties the agent tables. */
export async function emptyTables(client: Queryable): Promise<void> {
  await client.query(
    'truncate agentsession, agentinstruction, agentconnection, agentinstructionacknowledgement restart identity',
  );
}

/** A session that is due; its session_id. */
export async function addSession(client: Queryable): Promise<string> {
  const { rows } = await client.query<{ session_id: string }>(
    `insert into agentsession (session_id, agent_id, status, created_at, ended_at, experimental_parameters)
     values (gen_random_uuid()::text, 'agent', 'completed', ${old}, ${old}, '{"dose": 1, "mag": 2}')
     returning session_id`,
  );
  return rows[0]!.session_id;
}

/** Sessions that are due. */
export async function addSessions(client: Queryable, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await addSession(client);
}

/** Instructions that are due, all of the very same time; their instruction_ids in the order of their ids. */
export async function addInstructions(client: Queryable, count: number): Promise<string[]> {
  const { rows } = await client.query<{ instruction_id: string }>(
    `insert into agentinstruction (session_id, agent_id, instruction_type, payload, status, created_at)
     select $1, 'agent', 'move', '{"stage": [1, 2, 3]}', 'completed', date_trunc('day', ${old})
       from generate_series(1, $2::int)
     returning instruction_id`,
    [await addSession(client), count],
  );
  return rows.map((row) => row.instruction_id);
}

/** One instruction that is due. */
export async function addInstruction(client: Queryable): Promise<string> {
  return (await addInstructions(client, 1))[0]!;
}

/** An acknowledgement of now; it is due under no preset. */
export async function acknowledge(client: Queryable, instruction: string): Promise<void> {
  await client.query(
    `insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status)
     values ($1, 'agent', 'session', 'processed')`,
    [instruction],
  );
}

/** Acknowledgements that are due, all of the very same time. */
export async function addOldAcknowledgements(client: Queryable, instruction: string, count: number): Promise<void> {
  await client.query(
    `insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status, created_at)
     select $1, 'agent', 'session', 'processed', date_trunc('day', ${old}) from generate_series(1, $2::int)`,
    [instruction, count],
  );
}

/** An active connection that is due; its id. */
export async function addConnection(client: Queryable): Promise<number> {
  const { rows } = await client.query<{ id: number }>(
    `insert into agentconnection (connection_id, session_id, agent_id, created_at, last_heartbeat_at)
     values (gen_random_uuid()::text, $1, 'agent', ${old}, ${old})
     returning id`,
    [await addSession(client)],
  );
  return rows[0]!.id;
}

/** The only value, named `value`, of the row that a query finds, as text; `gone` if there is none. */
export async function readValue(client: Queryable, query: string, values: unknown[] = []): Promise<string> {
  const { rows } = await client.query<{ value: unknown }>(query, values);
  return rows.length === 0 ? 'gone' : String(rows[0]!.value);
}

/** What has become of an instruction: deleted, or archived or kept with a number of acknowledgements. */
export async function stateOf(client: Queryable, instruction: string): Promise<string> {
  const { rows } = await client.query<{ archived: boolean; acknowledgements: string }>(
    `select i.payload -> 'archived' is not distinct from 'true'::jsonb as archived,
            (select count(*) from agentinstructionacknowledgement a where a.instruction_id = i.instruction_id)
              as acknowledgements
       from agentinstruction i
      where i.instruction_id = $1`,
    [instruction],
  );
  const row = rows[0];
  return row === undefined
    ? 'deleted'
    : `${row.archived ? 'archived' : 'kept'} with ${row.acknowledgements} acknowledgements`;
}

/** How many rows a table has, or those of them that meet a condition. */
export async function countOf(client: Queryable, table: string, condition = 'true'): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    `select count(*)::int as count from ${table} where ${condition}`,
  );
  return rows[0]!.count;
}
