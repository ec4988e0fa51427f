import type { EffectiveRetention } from '../api/effective.ts';
import { auditTrailDays } from '../api/presets.ts';
import type { Operation, Scope } from './operation.ts';

/** Whether a policy's runs delete acknowledgements at all: only below seven years. */
export function deletesAcknowledgements(retention: EffectiveRetention): boolean {
  return retention.acknowledgementRetentionDays < auditTrailDays;
}

/**
 * Acknowledgements past acknowledgementRetentionDays are deleted: the audit trail gets shorter. One to which a row of another
 * table refers is kept.
 */
export function acknowledgements({ tables, keys }: Scope, cutoff: string): Operation {
  const pastAge = `t.created_at operator(pg_catalog.<) $1`;
  const { references } = keys.acknowledgement;
  const due = [pastAge, ...references.map(({ rows }) => `not exists (${rows} offset 0)`)].join(' and ');
  const without = [pastAge, ...references.map(({ rows }) => `not exists (${rows})`)].join(' and ');
  return {
    name: 'acknowledgements',
    table: tables.acknowledgement,
    ageColumn: 'created_at',
    primaryKey: 'acknowledgement_id',
    cutoff,
    dueParameters: [cutoff],
    updates: [],
    keys: keys.acknowledgement,
    kept: references.map(({ table, rows }) => ({
      table,
      from: `${tables.acknowledgement} t where ${pastAge} and exists (${rows})`,
    })),
    untaken: { undated: { where: 't.created_at is null', values: [] } },
    atStake: [`${tables.acknowledgement} t`],
    steps: [
      {
        action: 'deleted',
        due,
        from: `${tables.acknowledgement} t where ${without}`,
        lock: 'for update',
        lockFirst: references.length > 0,
        change: () => `delete from ${tables.acknowledgement} t`,
        changeParameters: [],
        written: 'gone',
      },
    ],
  };
}
