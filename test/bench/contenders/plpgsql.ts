import type { Client } from 'pg';
import { defaultStatuses, presets } from '../../../src/api/presets.ts';
import { type Contender, cleanUpBySql, type SqlOperation } from './contender.ts';

const policy = presets.Development;
const batchSize = 1000;

/** Batches of 1,000 along an index in PL/pgSQL, each locked first and committed on its own. */
export const plpgsql: Contender = {
  name: 'plpgsql',
  prepare: (client) => client.query(procedures),
  run: (url) =>
    cleanUpBySql(url, {
      connections: calling('close_connections', { hours: policy.connectionCleanupHours }),
      instructions: calling('archive_and_delete_instructions', { days: policy.instructionRetentionDays }),
      sessions: calling('archive_sessions', { days: policy.completedSessionRetentionDays }),
      acknowledgements: calling('delete_acknowledgements', { days: policy.acknowledgementRetentionDays }),
    }),
};

function calling(procedure: string, period: { hours?: number; days?: number }): SqlOperation {
  return async (client: Client, instant) => {
    const { rows } = await client.query<{ changed: number }>(
      `call bench.${procedure}($1::text, $1::text::timestamp - make_interval(days => $2, hours => $3), $4, null)`,
      [instant, period.days ?? 0, period.hours ?? 0, batchSize],
    );
    return rows[0]!.changed;
  };
}

const texts = (values: readonly string[]) => values.map((value) => `'${value}'`).join(', ');

const procedures = `
  create schema bench;

  create procedure bench.close_connections(instant text, cutoff timestamp, batch int, inout changed int)
  language plpgsql as $$
  declare
    ids int[];
    last_age timestamp := '-infinity';
    last_id int := 0;
  begin
    changed := 0;
    loop
      select array_agg(id), max(age), (array_agg(id order by age desc, id desc))[1] into ids, last_age, last_id
        from (select id, last_heartbeat_at as age
                from agentconnection
               where status = 'active' and last_heartbeat_at < cutoff
                 and (last_heartbeat_at, id) > (last_age, last_id)
               order by last_heartbeat_at, id
               limit batch
                 for update skip locked) as locked;
      exit when ids is null;
      update agentconnection
         set status = 'timeout', closed_at = instant::timestamp,
             close_reason = 'Stale connection cleanup after ${policy.connectionCleanupHours}h'
       where id = any(ids);
      changed := changed + cardinality(ids);
      commit;
    end loop;
  end $$;

  create procedure bench.archive_and_delete_instructions(instant text, cutoff timestamp, batch int, inout changed int)
  language plpgsql as $$
  declare
    ids int[];
    last_age timestamp := '-infinity';
    last_id int := 0;
  begin
    changed := 0;
    loop
      select array_agg(id), max(age), (array_agg(id order by age desc, id desc))[1] into ids, last_age, last_id
        from (select id, created_at as age
                from agentinstruction i
               where created_at < cutoff
                 and status in (${texts(defaultStatuses.instructions)})
                 and (payload -> 'archived' is distinct from 'true'::jsonb
                      or not exists (select from agentinstructionacknowledgement a
                                      where a.instruction_id = i.instruction_id))
                 and (created_at, id) > (last_age, last_id)
               order by created_at, id
               limit batch
                 for update skip locked) as locked;
      exit when ids is null;
      delete from agentinstruction i
       where id = any(ids)
         and not exists (select from agentinstructionacknowledgement a where a.instruction_id = i.instruction_id);
      update agentinstruction
         set payload = jsonb_build_object('archived', true, 'archived_at', instant),
             instruction_metadata =
               case
                 when instruction_metadata is null or jsonb_typeof(instruction_metadata) = 'null' then '{}'::jsonb
                 when jsonb_typeof(instruction_metadata) = 'object' then instruction_metadata
                 else jsonb_build_object('original_metadata', instruction_metadata)
               end
               || jsonb_build_object('archived', true, 'original_payload_size', coalesce(octet_length(payload::text), 0))
       where id = any(ids) and payload -> 'archived' is distinct from 'true'::jsonb;
      changed := changed + cardinality(ids);
      commit;
    end loop;
  end $$;

  create procedure bench.archive_sessions(instant text, cutoff timestamp, batch int, inout changed int)
  language plpgsql as $$
  declare
    ids int[];
    last_id int := 0;
  begin
    changed := 0;
    loop -- along the primary key: nothing has an index on ended_at
      select array_agg(id), max(id) into ids, last_id
        from (select id
                from agentsession
               where ended_at < cutoff
                 and status in (${texts(defaultStatuses.sessions)})
                 and experimental_parameters is not null
                 and experimental_parameters not in ('null'::jsonb, '{}'::jsonb, '[]'::jsonb)
                 and experimental_parameters -> 'archived' is distinct from 'true'::jsonb
                 and id > last_id
               order by id
               limit batch
                 for update skip locked) as locked;
      exit when ids is null;
      update agentsession
         set experimental_parameters = jsonb_build_object(
               'archived', true,
               'archived_at', instant,
               'parameter_count',
               case jsonb_typeof(experimental_parameters)
                 when 'object' then (select count(*) from jsonb_object_keys(experimental_parameters))
                 when 'array' then jsonb_array_length(experimental_parameters)
                 else 1
               end)
       where id = any(ids);
      changed := changed + cardinality(ids);
      commit;
    end loop;
  end $$;

  create procedure bench.delete_acknowledgements(instant text, cutoff timestamp, batch int, inout changed int)
  language plpgsql as $$
  declare
    ids uuid[];
    last_age timestamp := '-infinity';
  begin
    changed := 0;
    loop -- rows of the same age may be seen twice; those that are gone are not
      select array_agg(id), max(age) into ids, last_age
        from (select acknowledgement_id as id, created_at as age
                from agentinstructionacknowledgement
               where created_at < cutoff and created_at >= last_age
               order by created_at
               limit batch
                 for update skip locked) as locked;
      exit when ids is null;
      delete from agentinstructionacknowledgement where acknowledgement_id = any(ids);
      changed := changed + cardinality(ids);
      commit;
    end loop;
  end $$;
`;
