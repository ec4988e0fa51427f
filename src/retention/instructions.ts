import { isArchiveNote } from './archive-note.ts';
import type { Operation, Scope, Step } from './operation.ts';

/** SQL condition: an instruction's payload is the note that it is archived. */
export const payloadArchived = (of: 't.' | ''): string => `(${isArchiveNote(`${of}payload`)})`;

/** SQL condition: an instruction is not archived yet. `of` names the table, or nothing where an index is made. */
export function payloadNotArchived(of: 't.' | ''): string {
  return `${payloadArchived(of)} is not true`;
}

/** Where instructions refer to each other a delete frees others: they are archived first, as they were counted. */
const inOrder = (archivedFirst: boolean, steps: Step[]): Step[] => (archivedFirst ? steps.reverse() : steps);

/**
 * Instructions past instructionRetentionDays: one without acknowledgements is deleted, archived or not; one with them
 * is archived. One to which a row of any other table refers counts as one with acknowledgements.
 *
 * No acknowledgement is lost because the batch looks for them in a statement of its own, after the lock was granted:
 * whatever was committed before the lock is seen, and a later insert waits for the lock (its foreign key needs a key
 * share lock on the instruction). One statement that does both keeps one snapshot and loses what came in between.
 *
 * Deletes come first, in a transaction of their own: the room that they leave in a page is where the archived versions
 * of its other rows go, without a new entry in any index.
 */
export function instructions({ tables, retention, instant, keys }: Scope, cutoff: string): Operation {
  const pastAge = `t.created_at operator(pg_catalog.<) $1 and t.status operator(pg_catalog.=) any($2)`;
  const notArchived = payloadNotArchived('t.');
  const acknowledgements = `select from ${tables.acknowledgement} a
                             where a.instruction_id operator(pg_catalog.=) t.instruction_id`;
  const note = JSON.stringify({ archived: true, archived_at: instant });
  const { references } = keys.instruction;
  const referring = [acknowledgements, ...references.map(({ rows }) => rows)];
  // offset 0 keeps the planner from hashing the whole referring table for each batch.
  const kept = `(${referring.map((rows) => `exists (${rows} offset 0)`).join(' or ')})`;
  const without = referring.map((rows) => `not exists (${rows})`).join(' and ');
  return {
    name: 'instructions',
    table: tables.instruction,
    ageColumn: 'created_at',
    primaryKey: 'id',
    cutoff,
    dueParameters: [cutoff, retention.statuses.instructions],
    updates: ['payload', 'instruction_metadata'],
    keys: keys.instruction,
    kept: references.map(({ table, rows }) => ({
      table,
      from: `${tables.instruction} t where ${pastAge} and not exists (${acknowledgements}) and exists (${rows})`,
    })),
    untaken: {
      undated: {
        where: 't.created_at is null and t.status operator(pg_catalog.=) any($1)',
        values: [retention.statuses.instructions],
      },
      uncovered: {
        where: 't.created_at operator(pg_catalog.<) $1 and (t.status operator(pg_catalog.=) any($2)) is not true',
        values: [cutoff, retention.statuses.instructions],
      },
      alreadyArchived: {
        where: `${pastAge} and ${payloadArchived('t.')}`,
        values: [cutoff, retention.statuses.instructions],
      },
    },
    atStake: [
      // The newest first: they are not archived yet, and those that are stay for years.
      `${tables.instruction} t where ${notArchived} order by t.created_at desc`,
      `${tables.instruction} t where not (${notArchived}) and ${without}`,
    ],
    steps: inOrder(
      references.some(({ own }) => own),
      [
        {
          action: 'deleted',
          due: `${pastAge} and not ${kept}`,
          // The many archived ones that are kept are joined.
          from: `${tables.instruction} t where ${pastAge} and ${without}`,
          lock: 'for update',
          lockFirst: true,
          change: () => `delete from ${tables.instruction} t`,
          changeParameters: [],
          written: 'gone',
        },
        {
          action: 'archived',
          due: `${pastAge} and ${notArchived} and ${kept}`,
          // The few that are not archived yet are found first, and then looked up one by one.
          from: `(select t.*, t.tableoid, t.ctid from ${tables.instruction} t where ${pastAge} and ${notArchived} offset 0) t
                where ${kept}`,
          // Acknowledgements that come meanwhile need not wait: their instruction stays.
          lock: 'for no key update',
          lockFirst: false,
          change: (first) => `update ${tables.instruction} t
                    set payload = $${first}::pg_catalog.jsonb,
                        instruction_metadata =
                          case
                            when instruction_metadata is null then '{}'::pg_catalog.jsonb
                            when pg_catalog.jsonb_typeof(instruction_metadata) operator(pg_catalog.=) 'null'
                              then '{}'::pg_catalog.jsonb
                            when pg_catalog.jsonb_typeof(instruction_metadata) operator(pg_catalog.=) 'object'
                              then instruction_metadata
                            else pg_catalog.jsonb_set('{"original_metadata": null}', '{original_metadata}', instruction_metadata)
                          end
                          operator(pg_catalog.||)
                          pg_catalog.jsonb_set(
                            '{"archived": true, "original_payload_size": 0}',
                            '{original_payload_size}',
                            coalesce(pg_catalog.octet_length(payload::pg_catalog.text), 0)::pg_catalog.text::pg_catalog.jsonb)`,
          changeParameters: [note],
          // Triggers may add to the metadata, but nothing to what takes the content's place.
          written: {
            where: (first) => `t.payload operator(pg_catalog.=) $${first}::pg_catalog.jsonb`,
            parameters: [note],
          },
        },
      ],
    ),
    ...(references.length > 0
      ? {}
      : {
          countTogether: `select count(*) filter (where a.instruction_id is null) as deleted,
                           count(*) filter (where a.instruction_id is not null and ${notArchived}) as archived
                      from ${tables.instruction} t
                      left join (select distinct instruction_id from ${tables.acknowledgement}) a
                        on a.instruction_id = t.instruction_id
                     where ${pastAge}`,
        }),
  };
}
