import type { EffectiveRetention } from '../api/effective.ts';
import { auditTrailDays } from '../api/presets.ts';
import type { Operation, Scope } from './operation.ts';

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
    dueParameters: [cutoff],
    atStake: [`${tables.acknowledgement} t`],
    steps: [
      {
        action: 'deleted',
        due,
        from: `${tables.acknowledgement} t where ${due}`,
        lock: 'for update',
        lockFirst: false,
        change: `delete from ${tables.acknowledgement} t`,
        changeParameters: [],
      },
    ],
  };
}
