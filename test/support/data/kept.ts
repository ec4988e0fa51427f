import type { ClientBase } from 'pg';

/**
 * Fills the agent tables as many nights of the policy Development leave them: old instructions and sessions that are
 * archived and kept, the instructions each with an acknowledgement of today, and 10 of each that are due. Ends with
 * `vacuum analyze`.
 */
export async function fillWithKept(client: ClientBase, rows: number): Promise<void> {
  const age = `now() - interval '100 days' + interval '50 days' * n / $1::int`;
  const archived = `jsonb_build_object('archived', true, 'archived_at', '2026-09-01T00:00:00.000000Z')`;
  const archivedSession = `${archived} || '{"parameter_count": 1}'`;
  const statuses = `(array['completed', 'failed', 'expired'])[1 + n % 3]`;
  await client.query(
    `insert into agentsession (session_id, agent_id, description, status, created_at, ended_at, experimental_parameters)
     select 's' || n, 'a', repeat('x', 1500), 'completed', ${age}, ${age},
            case when n > $1 then '{"dose": 1}' else ${archivedSession} end
       from generate_series(1, $1::int + 10) n`,
    [rows],
  );
  await client.query(
    `insert into agentinstruction (session_id, agent_id, instruction_type, status, created_at, payload, instruction_metadata)
     select 's1', 'a', 'move', ${statuses}, ${age}, case when n > $1 then '{"stage": 1}' else ${archived} end,
            jsonb_build_object('archived', true, 'of', repeat('x', 1500))
       from generate_series(1, $1::int + 20) n`,
    [rows],
  );
  // The newest ten have none: those are deleted.
  await client.query(
    `insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status)
     select instruction_id, 'a', 's', 'processed' from agentinstruction where id <= $1::int + 10`,
    [rows],
  );
  // Only what a test does changes what the planner knows.
  for (const table of ['agentsession', 'agentinstruction', 'agentinstructionacknowledgement']) {
    await client.query(`alter table ${table} set (autovacuum_enabled = false)`);
    await client.query(`vacuum analyze ${table}`);
  }
}
