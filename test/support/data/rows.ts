// The generator's statements. Parameters: $1 seed, $2 now, $3 ageDays, $4 sessions, then each one's own;
// the acknowledgements follow from the stored instructions: $1 seed, $2 now, $3 shuffled.

// draw: a number in [0, 1) that depends on nothing but its arguments. md5, since PostgreSQL's own hashes may change.
// sample: what an ORM leaves in a jsonb column, for one draw.
export const functions = `
  set local timezone to 'UTC';
  set local work_mem to '512MB';

  create function pg_temp.draw(what text, key text) returns double precision
  language sql immutable parallel safe
  as $$ select ('x' || left(md5(what || ' ' || key), 12))::bit(48)::bigint / 281474976710656.0::double precision $$;

  create function pg_temp.sample(draw double precision, object jsonb) returns jsonb
  language sql immutable parallel safe
  as $$
    select case
      when draw < 0.50 then object
      when draw < 0.60 then null
      when draw < 0.75 then 'null'
      when draw < 0.82 then '{}'
      when draw < 0.87 then '[]'
      when draw < 0.92 then jsonb_build_array('retry', object)
      when draw < 0.95 then '"free text"'
      when draw < 0.98 then '42'
      else 'true'
    end
  $$;
`;

// Its own parameter: $5 shuffled.
// Session k of n covers the k-th part of the time, its instructions come from that part and the next two.
export const insertSessions = `
  with drawn as materialized (
    select
      k,
      $1 || '-' || k as key,
      $2::timestamp - make_interval(days => $3) * ((1 + $4 - k)::double precision / $4)
        - interval '1 minute' - interval '1 hour' * pg_temp.draw('session start', $1 || '-' || k) as created_at,
      $2::timestamp - make_interval(days => $3) * ((1 + $4 - k - 3)::double precision / $4)
        + interval '1 microsecond' * floor(1e6 * pg_temp.draw('session end', $1 || '-' || k)) as ended_at,
      pg_temp.draw('session status', $1 || '-' || k) as status_draw
    from generate_series(1, $4::int) as k
  ), staged as materialized (
    select *, case
      when k > $4 - 4 or status_draw < 0.05 then 'active'
      when status_draw < 0.10 then 'inactive'
      when status_draw < 0.40 then 'ended'
      when status_draw < 0.70 then 'completed'
      when status_draw < 0.85 then 'terminated'
      else 'error'
    end as status
    from drawn
  )
  insert into agentsession (session_id, agent_id, acquisition_uuid, name, description, experimental_parameters, status,
    created_at, started_at, ended_at, last_activity_at)
  select
    'session-' || key,
    'agent-' || k % 7,
    case when k % 3 > 0 then md5('acquisition ' || key)::uuid::varchar end,
    'Session ' || k,
    null,
    case
      when ended_at < $2::timestamp - interval '800 days' and pg_temp.draw('session archived', key) < 0.05
        then jsonb_build_object('archived', true, 'archived_at', to_char(ended_at + interval '730 days', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'parameter_count', 5)
      else pg_temp.sample(pg_temp.draw('session parameters', key),
        jsonb_build_object('pixel_size', 0.85, 'voltage_kv', 300, 'dose', round(50 * pg_temp.draw('dose', key)::numeric, 2),
          'grid', 'grid-' || k, 'detector', jsonb_build_object('mode', 'counting', 'binning', 1)))
    end,
    status,
    created_at,
    created_at + interval '1 second',
    case when status not in ('active', 'inactive') then ended_at end,
    least(ended_at, $2::timestamp)
  from staged
  order by case when $5::boolean then pg_temp.draw('session place', key) else k end
`;

// Where each instruction comes in its table: $1 seed, $2 shuffled, $3 instructions.
export const placeInstructions = `
  create temporary table instruction_places on commit drop as
  select i, row_number() over (order by case when $2::boolean then pg_temp.draw('instruction place', $1 || '-' || i) end, i)
    as place
  from generate_series(1, $3::int) as i
`;

// Its own parameters: $5 instructions in all, $6 noise; it inserts those whose place is past $7 and not past $8.
export const insertInstructions = `
  with drawn as materialized (
    select
      i,
      place,
      $1 || '-' || i as key,
      $2::timestamp - make_interval(days => $3) * ((1 + $5 - i - pg_temp.draw('instruction time', $1 || '-' || i)) / $5)
        as created_at,
      1 + ((i - 1)::bigint * $4 / $5)::int - floor(3 * pg_temp.draw('instruction session', $1 || '-' || i))::int as k,
      pg_temp.draw('instruction status', $1 || '-' || i) as status_draw,
      pg_temp.draw('payload', $1 || '-' || i) as payload_draw,
      pg_temp.draw('metadata', $1 || '-' || i) as metadata_draw,
      pg_temp.draw('text', $1 || '-' || i) as text_draw
    from pg_temp.instruction_places
    where place > $7 and place <= $8
  ), staged as materialized (
    select *,
      case
        when status_draw < 0.05 then 'pending'
        when status_draw < 0.10 then 'sent'
        when status_draw < 0.40 then 'acknowledged'
        when status_draw < 0.80 then 'completed'
        when status_draw < 0.90 then 'failed'
        else 'expired'
      end as status,
      jsonb_build_object(
        'command', 'microscope.control.move_stage',
        'target', jsonb_build_object('x', round(payload_draw::numeric * 1000, 3), 'y', round(text_draw::numeric * 1000, 3)),
        'recipe', encode(substr($6::bytea, 1 + floor(15000 * text_draw)::int, 200 + floor(720 * payload_draw)::int), 'hex')
      ) as payload
    from drawn
  ), archived as materialized (
    select *, pg_temp.draw('instruction archived', key) < 0.05 and status in ('completed', 'failed', 'expired')
      and created_at < $2::timestamp - interval '400 days' as archived
    from staged
  )
  insert into agentinstruction (instruction_id, session_id, agent_id, instruction_type, payload, sequence_number, priority,
    status, created_at, sent_at, acknowledged_at, expires_at, retry_count, instruction_metadata)
  select
    md5('instruction ' || key)::uuid,
    'session-' || $1 || '-' || greatest(k, 1),
    'agent-' || greatest(k, 1) % 7,
    (array['microscope.control.move_stage', 'microscope.control.take_image', 'athena.control.reorder_gridsquares'])[1 + i % 3],
    case
      when archived then jsonb_build_object('archived', true,
        'archived_at', to_char(created_at + interval '365 days', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
      when payload_draw < 0.02 then null
      when payload_draw < 0.04 then 'null'
      when payload_draw < 0.05 then '{}'
      when payload_draw < 0.06 then '[]'
      when payload_draw < 0.07 then jsonb_build_array(payload)
      else payload
    end,
    i,
    (array['low', 'normal', 'normal', 'high'])[1 + i % 4],
    status,
    created_at,
    case when status <> 'pending' then created_at + interval '1.5 seconds' end,
    case when status in ('acknowledged', 'completed') then created_at + interval '7 seconds' end,
    case when status = 'expired' or i % 4 = 0 then created_at + interval '1 hour' end,
    case when status = 'failed' then 3 else 0 end,
    case
      when archived then jsonb_build_object('source', 'rules', 'archived', true, 'original_payload_size', 1200)
      else pg_temp.sample(metadata_draw, jsonb_build_object('source', 'rules', 'attempt', i % 3))
    end
  from archived
  order by place
`;

// One in twenty comes late, up to thirty days after its instruction, and none before it or in the future.
export const insertAcknowledgements = `
  with drawn as materialized (
    select
      i.instruction_id, i.agent_id, i.session_id, i.created_at as instructed_at, n,
      i.instruction_id || '-' || n as key,
      interval '30 days' * case
        when pg_temp.draw('late', i.instruction_id::text) < 0.05 then pg_temp.draw('delay', i.instruction_id || '-' || n)
        else 0.0002 * n * pg_temp.draw('delay', i.instruction_id || '-' || n)
      end as delay
    from agentinstruction as i
    cross join lateral generate_series(1, 1 + floor(3 * pg_temp.draw('acknowledgements', i.instruction_id::text))::int) as n
    where i.session_id like 'session-' || $1 || '-%' and pg_temp.draw('acknowledged', i.instruction_id::text) < 0.5
  ), staged as materialized (
    select *,
      instructed_at + least(delay, ($2::timestamp - instructed_at) / 2) + interval '1 microsecond' as created_at,
      pg_temp.draw('acknowledgement status', key) as status_draw,
      floor(2000 * pg_temp.draw('processing time', key))::int as processing_time_ms
    from drawn
  )
  insert into agentinstructionacknowledgement (acknowledgement_id, instruction_id, agent_id, session_id, status, result,
    error_message, processing_time_ms, acknowledgement_metadata, created_at, processed_at)
  select
    md5('acknowledgement ' || key)::uuid,
    instruction_id,
    agent_id,
    session_id,
    case
      when status_draw < 0.3 then 'received'
      when status_draw < 0.8 then 'processed'
      when status_draw < 0.9 then 'failed'
      else 'declined'
    end,
    case when status_draw between 0.3 and 0.8 then 'stage moved' end,
    case when status_draw between 0.8 and 0.9 then 'stage did not answer' end,
    processing_time_ms,
    pg_temp.sample(pg_temp.draw('acknowledgement metadata', key), jsonb_build_object('host', 'epu-' || n)),
    created_at,
    case when status_draw >= 0.3 then created_at + interval '1 millisecond' * processing_time_ms end
  from staged
  order by case when $3::boolean then pg_temp.draw('acknowledgement place', key) end, created_at, key
`;

// Its own parameters: $5 shuffled, $6 connections.
// An active connection's heartbeat is from the last four days, or its agent went away and it is older.
export const insertConnections = `
  with drawn as materialized (
    select
      c,
      $1 || '-' || c as key,
      1 + ((c - 1)::bigint * $4 / $6)::int as k,
      $2::timestamp - make_interval(days => $3) * ((1 + $6 - c - pg_temp.draw('connection time', $1 || '-' || c)) / $6)
        as created_at,
      pg_temp.draw('heartbeat', $1 || '-' || c) as heartbeat_draw,
      pg_temp.draw('connection status', $1 || '-' || c) as status_draw
    from generate_series(1, $6::int) as c
  ), staged as materialized (
    select *,
      case when status_draw < 0.3 then 'active' when status_draw < 0.8 then 'closed' else 'timeout' end as status,
      case
        when status_draw < 0.15 then greatest(created_at, $2::timestamp - interval '96 hours' * heartbeat_draw)
        else least($2::timestamp, created_at + interval '6 hours' * heartbeat_draw)
      end as last_heartbeat_at
    from drawn
  )
  insert into agentconnection (connection_id, session_id, agent_id, connection_type, client_info, status, created_at,
    last_heartbeat_at, closed_at, close_reason)
  select
    'connection-' || key,
    'session-' || $1 || '-' || k,
    'agent-' || k % 7,
    case when c % 5 = 0 then 'websocket' else 'sse' end,
    pg_temp.sample(pg_temp.draw('client', key), jsonb_build_object('user_agent', 'smartem-agent/1.4', 'host', 'epu-' || k % 7)),
    status,
    created_at,
    last_heartbeat_at,
    case when status <> 'active' then last_heartbeat_at end,
    case status when 'closed' then 'Client disconnected' when 'timeout' then 'Stale connection cleanup after 48h' end
  from staged
  order by case when $5::boolean then pg_temp.draw('connection place', key) else c end
`;
