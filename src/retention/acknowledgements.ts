import type { EffectiveRetention } from '../api/effective.ts';
import { auditTrailDays } from '../api/presets.ts';
import { allChanged, type Operation, type Scope } from './operation.ts';

/** Whether a policy's runs delete acknowledgements at all: only below seven years. */
export function deletesAcknowledgements(retention: EffectiveRetention): boolean {
  return retention.acknowledgementRetentionDays < auditTrailDays;
}

/** Acknowledgements past acknowledgementRetentionDays are deleted: the audit trail gets shorter. */
export function acknowledgements({ tables }: Scope, cutoff: string): Operation {
  const due = `t.created_at < $1`;
  return {
    name: 'acknowledgements',
    table: tables.acknowledgement,
    ageColumn: 'created_at',
    primaryKey: 'acknowledgement_id',
    cutoff,
    due,
    dueParameters: [cutoff],
    dueBy: { deleted: `${tables.acknowledgement} t where ${due}` },
    async change(client, ids) {
      const removed = await client.query(`delete from ${tables.acknowledgement} where acknowledgement_id = any($1)`, [
        ids,
      ]);
      return { deleted: allChanged(removed, ids, tables.acknowledgement) };
    },
  };
}
