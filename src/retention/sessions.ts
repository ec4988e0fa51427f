import { isArchiveNote } from './archive-note.ts';
import type { Operation, Scope } from './operation.ts';

/** SQL condition: a session's parameters are the note that they are archived. */
export const parametersArchived = (of: 't.' | ''): string =>
  `(${isArchiveNote(`${of}experimental_parameters`, ['parameter_count'])})`;

/** SQL condition: a session has parameters that are not archived yet. `of` names the table, or nothing where an index is made. */
export function hasContent(of: 't.' | ''): string {
  const parameters = `${of}experimental_parameters`;
  return [
    `${parameters} is not null`,
    `${parameters} operator(pg_catalog.<>) all (array['null', '{}', '[]']::pg_catalog.jsonb[])`,
    `${parametersArchived(of)} is not true`,
  ].join(' and ');
}

/** Sessions that ended before completedSessionRetentionDays: their experimental parameters are archived. */
export function sessions({ tables, retention, instant }: Scope, cutoff: string): Operation {
  const note = JSON.stringify({ archived: true, archived_at: instant });
  const due = `t.ended_at operator(pg_catalog.<) $1 and t.status operator(pg_catalog.=) any($2)
      and ${hasContent('t.')}`;
  return {
    name: 'sessions',
    table: tables.session,
    ageColumn: 'ended_at',
    primaryKey: 'id',
    cutoff,
    dueParameters: [cutoff, retention.statuses.sessions],
    updates: ['experimental_parameters'],
    kept: [],
    untaken: {
      undated: {
        where: `t.ended_at is null and t.status operator(pg_catalog.=) any($1) and ${hasContent('t.')}`,
        values: [retention.statuses.sessions],
      },
      uncovered: {
        where: 't.ended_at operator(pg_catalog.<) $1 and (t.status operator(pg_catalog.=) any($2)) is not true',
        values: [cutoff, retention.statuses.sessions],
      },
      alreadyArchived: {
        where: `t.ended_at operator(pg_catalog.<) $1 and t.status operator(pg_catalog.=) any($2)
      and ${parametersArchived('t.')}`,
        values: [cutoff, retention.statuses.sessions],
      },
    },
    // The newest first: they are not archived yet, and those that are stay for years.
    atStake: [`${tables.session} t where ${hasContent('t.')} order by t.created_at desc`],
    steps: [
      {
        action: 'archived',
        due,
        from: `${tables.session} t where ${due}`,
        lock: 'for no key update',
        lockFirst: false,
        change: (first) => `update ${tables.session} t
                    set experimental_parameters = pg_catalog.jsonb_set(
                          $${first}::pg_catalog.jsonb,
                          '{parameter_count}',
                          case
                            when pg_catalog.jsonb_typeof(experimental_parameters) operator(pg_catalog.=) 'object'
                              then (select pg_catalog.count(*) from pg_catalog.jsonb_object_keys(experimental_parameters))
                            when pg_catalog.jsonb_typeof(experimental_parameters) operator(pg_catalog.=) 'array'
                              then pg_catalog.jsonb_array_length(experimental_parameters)
                            else 1
                          end::pg_catalog.text::pg_catalog.jsonb)`,
        changeParameters: [note],
        written: {
          where: (first) => `(t.experimental_parameters operator(pg_catalog.-) 'parameter_count'::pg_catalog.text)
                               operator(pg_catalog.=) $${first}::pg_catalog.jsonb
                         and pg_catalog.jsonb_typeof(t.experimental_parameters operator(pg_catalog.->) 'parameter_count')
                               operator(pg_catalog.=) 'number'`,
          parameters: [note],
        },
      },
    ],
  };
}
