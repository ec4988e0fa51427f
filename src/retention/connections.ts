import type { Operation, Scope } from './operation.ts';

/**
 * Connections without a heartbeat for connectionCleanupHours are closed as timed out; never deleted.
 * `closedAt` is the run's instant in the type and zone of column closed_at.
 */
export function connections({ tables, retention }: Scope, cutoff: string, closedAt: string): Operation {
  const due = `t.status operator(pg_catalog.=) 'active' and t.last_heartbeat_at operator(pg_catalog.<) $1`;
  return {
    name: 'connections',
    table: tables.connection,
    ageColumn: 'last_heartbeat_at',
    primaryKey: 'id',
    cutoff,
    dueParameters: [cutoff],
    updates: ['status', 'closed_at', 'close_reason'],
    kept: [],
    untaken: {
      undated: { where: `t.last_heartbeat_at is null and t.status operator(pg_catalog.=) 'active'`, values: [] },
    },
    atStake: [`${tables.connection} t where t.status operator(pg_catalog.=) 'active'`],
    steps: [
      {
        action: 'closed',
        due,
        from: `${tables.connection} t where ${due}`,
        lock: 'for no key update',
        lockFirst: false,
        change: (first) => `update ${tables.connection} t
                    set status = 'timeout', closed_at = $${first}, close_reason = $${first + 1}`,
        changeParameters: [closedAt, `Stale connection cleanup after ${retention.connectionCleanupHours}h`],
        written: {
          where: () => `t.status operator(pg_catalog.=) 'timeout' and t.closed_at is not null`,
          parameters: [],
        },
      },
    ],
  };
}
