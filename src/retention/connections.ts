import type { Operation, Scope } from './operation.ts';

/**
 * Connections without a heartbeat for connectionCleanupHours are closed as timed out; never deleted.
 * `closedAt` is the run's instant in the type and zone of column closed_at.
 */
export function connections({ tables, retention }: Scope, cutoff: string, closedAt: string): Operation {
  const due = `t.status = 'active' and t.last_heartbeat_at < $1`;
  return {
    name: 'connections',
    table: tables.connection,
    ageColumn: 'last_heartbeat_at',
    primaryKey: 'id',
    cutoff,
    dueParameters: [cutoff],
    atStake: [`${tables.connection} t where t.status = 'active'`],
    steps: [
      {
        action: 'closed',
        due,
        from: `${tables.connection} t where ${due}`,
        lock: 'for no key update',
        lockFirst: false,
        change: `update ${tables.connection} t
                    set status = 'timeout', closed_at = $2, close_reason = $3`,
        changeParameters: [closedAt, `Stale connection cleanup after ${retention.connectionCleanupHours}h`],
      },
    ],
  };
}
