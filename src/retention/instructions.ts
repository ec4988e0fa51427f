import { allChanged, type Operation, type Scope } from './operation.ts';

/**
 * Instructions past instructionRetentionDays: one with acknowledgements is archived, one without is deleted.
 *
 * No acknowledgement is lost because `change` looks for them in a statement of its own, after the lock was granted:
 * whatever was committed before the lock is seen, and a later insert waits for the lock (its foreign key needs a key
 * share lock on the instruction). One statement that does both keeps one snapshot and loses what came in between.
 */
export function instructions({ tables, retention, instant }: Scope, cutoff: string): Operation {
  const old = `t.created_at < $1 and t.status = any($2)`;
  const notArchived = `t.payload -> 'archived' is distinct from 'true'::jsonb`;
  const itsAcknowledgements = `select from ${tables.acknowledgement} a where a.instruction_id = t.instruction_id`;
  return {
    name: 'instructions',
    table: tables.instruction,
    ageColumn: 'created_at',
    primaryKey: 'id',
    cutoff,
    // offset 0 keeps the planner from hashing the whole acknowledgement table for each batch.
    due: `${old} and (${notArchived} or not exists (${itsAcknowledgements} offset 0))`,
    dueParameters: [cutoff, retention.statuses.instructions],
    // The few that are not archived are looked up one by one, as above; the many that are archived are joined.
    dueBy: {
      archived: `(select * from ${tables.instruction} t where ${old} and ${notArchived} offset 0) t
        where exists (${itsAcknowledgements} offset 0)`,
      deleted: `${tables.instruction} t where ${old} and not exists (${itsAcknowledgements})`,
    },
    async change(client, ids) {
      const { rows } = await client.query<{ id: string; acknowledged: boolean; archived: boolean }>(
        `select i.id::text as id,
                i.payload -> 'archived' is not distinct from 'true'::jsonb as archived,
                exists
                  (select from ${tables.acknowledgement} a
                    where a.instruction_id = i.instruction_id offset 0) as acknowledged
           from ${tables.instruction} i
          where i.id = any($1)`,
        [ids],
      );
      const toDelete = rows.filter((row) => !row.acknowledged).map((row) => row.id);
      const toArchive = rows.filter((row) => row.acknowledged && !row.archived).map((row) => row.id);
      const deleted = await client.query(`delete from ${tables.instruction} where id = any($1)`, [toDelete]);
      const archived = await client.query(
        `update ${tables.instruction}
            set payload = jsonb_build_object('archived', true, 'archived_at', $2::text),
                instruction_metadata =
                  case
                    when instruction_metadata is null or jsonb_typeof(instruction_metadata) = 'null' then '{}'::jsonb
                    when jsonb_typeof(instruction_metadata) = 'object' then instruction_metadata
                    else jsonb_build_object('original_metadata', instruction_metadata)
                  end
                  || jsonb_build_object('archived', true,
                                        'original_payload_size', coalesce(octet_length(payload::text), 0))
          where id = any($1)`,
        [toArchive, instant],
      );
      return {
        archived: allChanged(archived, toArchive, tables.instruction),
        deleted: allChanged(deleted, toDelete, tables.instruction),
      };
    },
  };
}
