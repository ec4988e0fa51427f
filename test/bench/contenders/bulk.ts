import type { Client } from 'pg';
import { defaultStatuses, presets } from '../../../src/api/presets.ts';
import { type Contender, cleanUpBySql } from './contender.ts';

const policy = presets.Development;

/** One statement per operation (instructions: one UPDATE and one DELETE), one transaction each. */
export const bulk: Contender = {
  name: 'bulk',
  run: (url) =>
    cleanUpBySql(url, {
      connections: closeConnections,
      instructions: archiveAndDeleteInstructions,
      sessions: archiveSessions,
      acknowledgements: deleteAcknowledgements,
    }),
};

async function closeConnections(client: Client, instant: string): Promise<number> {
  const hours = policy.connectionCleanupHours;
  const closed = await client.query(
    `update agentconnection
        set status = 'timeout', closed_at = $1::timestamp, close_reason = $3
      where status = 'active' and last_heartbeat_at < $1::timestamp - make_interval(hours => $2)`,
    [instant, hours, `Stale connection cleanup after ${hours}h`],
  );
  return closed.rowCount ?? 0;
}

async function archiveAndDeleteInstructions(client: Client, instant: string): Promise<number> {
  const parameters = [instant, policy.instructionRetentionDays, defaultStatuses.instructions];
  await client.query('begin');
  const archived = await client.query(
    `update agentinstruction i
        set payload = jsonb_build_object('archived', true, 'archived_at', $1::text),
            instruction_metadata =
              case
                when instruction_metadata is null or jsonb_typeof(instruction_metadata) = 'null' then '{}'::jsonb
                when jsonb_typeof(instruction_metadata) = 'object' then instruction_metadata
                else jsonb_build_object('original_metadata', instruction_metadata)
              end
              || jsonb_build_object('archived', true, 'original_payload_size', coalesce(octet_length(payload::text), 0))
      where created_at < $1::text::timestamp - make_interval(days => $2)
        and status = any($3)
        and payload -> 'archived' is distinct from 'true'::jsonb
        and exists (select from agentinstructionacknowledgement a where a.instruction_id = i.instruction_id)`,
    parameters,
  );
  const deleted = await client.query(
    `delete from agentinstruction i
      where created_at < $1::text::timestamp - make_interval(days => $2)
        and status = any($3)
        and not exists (select from agentinstructionacknowledgement a where a.instruction_id = i.instruction_id)`,
    parameters,
  );
  await client.query('commit');
  return (archived.rowCount ?? 0) + (deleted.rowCount ?? 0);
}

async function archiveSessions(client: Client, instant: string): Promise<number> {
  const archived = await client.query(
    `update agentsession
        set experimental_parameters = jsonb_build_object(
              'archived', true,
              'archived_at', $1::text,
              'parameter_count',
              case jsonb_typeof(experimental_parameters)
                when 'object' then (select count(*) from jsonb_object_keys(experimental_parameters))
                when 'array' then jsonb_array_length(experimental_parameters)
                else 1
              end)
      where ended_at < $1::text::timestamp - make_interval(days => $2)
        and status = any($3)
        and experimental_parameters is not null
        and experimental_parameters not in ('null'::jsonb, '{}'::jsonb, '[]'::jsonb)
        and experimental_parameters -> 'archived' is distinct from 'true'::jsonb`,
    [instant, policy.completedSessionRetentionDays, defaultStatuses.sessions],
  );
  return archived.rowCount ?? 0;
}

async function deleteAcknowledgements(client: Client, instant: string): Promise<number> {
  const deleted = await client.query(
    `delete from agentinstructionacknowledgement
      where created_at < $1::timestamp - make_interval(days => $2)`,
    [instant, policy.acknowledgementRetentionDays],
  );
  return deleted.rowCount ?? 0;
}
