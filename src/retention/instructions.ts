import type { Operation, Scope } from './operation.ts';

/**
 * Instructions past instructionRetentionDays: one without acknowledgements is deleted, archived or not; one with them
 * is archived.
 *
 * No acknowledgement is lost because the delete looks for them in a statement of its own, after the lock was granted:
 * whatever was committed before the lock is seen, and a later insert waits for the lock (its foreign key needs a key
 * share lock on the instruction). One statement that does both keeps one snapshot and loses what came in between.
 *
 * Deletes come first, in a transaction of their own: the room that they leave in a page is where the archived versions
 * of its other rows go, without a new entry in any index.
 */
export function instructions({ tables, retention, instant }: Scope, cutoff: string): Operation {
  const pastAge = `t.created_at < $1 and t.status = any($2)`;
  const notArchived = `t.payload -> 'archived' is distinct from 'true'::jsonb`;
  const itsAcknowledgements = `select from ${tables.acknowledgement} a where a.instruction_id = t.instruction_id`;
  // offset 0 keeps the planner from hashing the whole acknowledgement table for each batch.
  const acknowledged = `exists (${itsAcknowledgements} offset 0)`;
  return {
    name: 'instructions',
    table: tables.instruction,
    ageColumn: 'created_at',
    primaryKey: 'id',
    cutoff,
    dueParameters: [cutoff, retention.statuses.instructions],
    atStake: [
      // The newest first: they are not archived yet, and those that are stay for years.
      `${tables.instruction} t where ${notArchived} order by t.created_at desc`,
      `${tables.instruction} t where not (${notArchived}) and not exists (${itsAcknowledgements})`,
    ],
    steps: [
      {
        action: 'deleted',
        due: `${pastAge} and not ${acknowledged}`,
        // The many archived ones that are kept are joined.
        from: `${tables.instruction} t where ${pastAge} and not exists (${itsAcknowledgements})`,
        lock: 'for update',
        lockFirst: true,
        change: `delete from ${tables.instruction} t`,
        changeParameters: [],
      },
      {
        action: 'archived',
        due: `${pastAge} and ${notArchived} and ${acknowledged}`,
        // The few that are not archived yet are found first, and then looked up one by one.
        from: `(select * from ${tables.instruction} t where ${pastAge} and ${notArchived} offset 0) t
                where ${acknowledged}`,
        // Acknowledgements that come meanwhile need not wait: their instruction stays.
        lock: 'for no key update',
        lockFirst: false,
        change: `update ${tables.instruction} t
                    set payload = $3::jsonb,
                        instruction_metadata =
                          case
                            when instruction_metadata is null or jsonb_typeof(instruction_metadata) = 'null' then '{}'::jsonb
                            when jsonb_typeof(instruction_metadata) = 'object' then instruction_metadata
                            else jsonb_build_object('original_metadata', instruction_metadata)
                          end
                          || jsonb_build_object('archived', true,
                                                'original_payload_size', coalesce(octet_length(payload::text), 0))`,
        changeParameters: [JSON.stringify({ archived: true, archived_at: instant })],
      },
    ],
    countTogether: `select count(*) filter (where a.instruction_id is null) as deleted,
                           count(*) filter (where a.instruction_id is not null and ${notArchived}) as archived
                      from ${tables.instruction} t
                      left join (select distinct instruction_id from ${tables.acknowledgement}) a
                        on a.instruction_id = t.instruction_id
                     where ${pastAge}`,
  };
}
