import type { Client } from 'pg';
import { loadSchema } from '../support/postgres/schema.ts';

/** What a policy has to say for `fillArchived`'s rows to be settled: the oldest acknowledgement is 2,500 days old. */
export const archivedRetention = { acknowledgementRetentionDays: 2554 };

/**
 * Fills an empty database as years of runs leave it: so many archived instructions with one to two acknowledgements each,
 * a tenth as many young ones, archived sessions, closed connections. Nothing is due by the policy Development with
 * `archivedRetention`, nor will be for two days.
 */
export async function fillArchived(client: Client, instructions: number): Promise<void> {
  await loadSchema(client, 'no-action');
  const sessions = Math.ceil(instructions / 100);
  await client.query(insertSessions, [sessions]);
  await client.query(insertConnections, [sessions]);
  await client.query(insertArchived, [instructions, sessions]);
  await client.query(insertYoung, [Math.ceil(instructions / 10), sessions]);
  await client.query(acknowledge);
}

const insertSessions = `
  insert into agentsession (session_id, agent_id, status, created_at, ended_at, experimental_parameters)
  select 'session-' || k, 'agent-' || k % 7, (array['completed', 'terminated', 'error', 'ended'])[1 + k % 4],
         age - interval '1 day', age,
         jsonb_build_object('archived', true, 'archived_at', to_char(age + interval '14 days', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                            'parameter_count', 5)
    from (select k, now() - interval '2500 days' * (1 - k::float8 / $1::int) - interval '20 days' as age
            from generate_series(1, $1::int) as k) as aged
`;

const insertConnections = `
  insert into agentconnection (connection_id, session_id, agent_id, status, created_at, last_heartbeat_at, closed_at)
  select 'connection-' || k, 'session-' || k, 'agent-' || k % 7, case when k % 3 = 0 then 'timeout' else 'closed' end,
         age, age + interval '6 hours', age + interval '10 hours'
    from (select k, now() - interval '2500 days' * (1 - k::float8 / $1::int) - interval '20 days' as age
            from generate_series(1, $1::int) as k) as aged
`;

const insertArchived = `
  insert into agentinstruction (instruction_id, session_id, agent_id, instruction_type, payload, sequence_number, priority,
    status, created_at, sent_at, acknowledged_at, instruction_metadata)
  select md5('archived ' || i)::uuid, 'session-' || 1 + i % $2::int, 'agent-' || i % 7,
         (array['microscope.control.move_stage', 'microscope.control.take_image'])[1 + i % 2],
         jsonb_build_object('archived', true, 'archived_at', to_char(age + interval '7 days', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
         i, (array['low', 'normal', 'normal', 'high'])[1 + i % 4], (array['completed', 'failed', 'expired'])[1 + i % 3],
         age, age + interval '1.5 seconds', age + interval '7 seconds',
         jsonb_build_object('source', 'rules', 'archived', true, 'original_payload_size', 500 + i % 1500)
    from (select i, now() - interval '2490 days' * (1 - i::float8 / $1::int) - interval '10 days' as age
            from generate_series(1, $1::int) as i) as aged
`;

const insertYoung = `
  insert into agentinstruction (instruction_id, session_id, agent_id, instruction_type, payload, sequence_number, status,
    created_at)
  select md5('young ' || i)::uuid, 'session-' || 1 + i % $2::int, 'agent-' || i % 7, 'microscope.control.move_stage',
         jsonb_build_object('command', 'move', 'recipe', repeat(md5('recipe ' || i), 30)), i,
         (array['sent', 'acknowledged', 'completed', 'completed'])[1 + i % 4],
         now() - interval '5 days' * (1 - i::float8 / $1::int)
    from generate_series(1, $1::int) as i
`;

const acknowledge = `
  insert into agentinstructionacknowledgement (acknowledgement_id, instruction_id, agent_id, session_id, status,
    processing_time_ms, created_at, processed_at)
  select md5(i.instruction_id || ' ' || n)::uuid, i.instruction_id, i.agent_id, i.session_id, 'processed', 250,
         i.created_at + n * interval '3 seconds', i.created_at + n * interval '3 seconds'
    from agentinstruction i
   cross join lateral generate_series(1, case when i.id % 3 = 0 then 2 else 1 end) as n
   order by i.id, n
`;
