import type { Operation, Scope } from './operation.ts';

/** Sessions that ended before completedSessionRetentionDays: their experimental parameters are archived. */
export function sessions({ tables, retention, instant }: Scope, cutoff: string): Operation {
  const withParameters = `t.experimental_parameters is not null
      and t.experimental_parameters not in ('null'::jsonb, '{}'::jsonb, '[]'::jsonb)
      and t.experimental_parameters -> 'archived' is distinct from 'true'::jsonb`;
  const due = `t.ended_at < $1 and t.status = any($2)
      and ${withParameters}`;
  return {
    name: 'sessions',
    table: tables.session,
    ageColumn: 'ended_at',
    primaryKey: 'id',
    cutoff,
    dueParameters: [cutoff, retention.statuses.sessions],
    // The newest first: they are not archived yet, and those that are stay for years.
    atStake: [`${tables.session} t where ${withParameters} order by t.created_at desc`],
    steps: [
      {
        action: 'archived',
        due,
        from: `${tables.session} t where ${due}`,
        lock: 'for no key update',
        lockFirst: false,
        change: `update ${tables.session} t
                    set experimental_parameters = jsonb_build_object(
                          'archived', true,
                          'archived_at', $3::text,
                          'parameter_count',
                          case jsonb_typeof(experimental_parameters)
                            when 'object' then (select count(*) from jsonb_object_keys(experimental_parameters))
                            when 'array' then jsonb_array_length(experimental_parameters)
                            else 1
                          end)`,
        changeParameters: [instant],
      },
    ],
  };
}
