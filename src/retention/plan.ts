import type pg from 'pg';
import { milliseconds } from '../api/duration.ts';
import type { IndexAdvice } from '../api/run-result.ts';
import { cleanupOperations } from '../api/spec.ts';
import { ConfigurationError } from '../database/config.ts';
import type { Session } from '../database/session.ts';
import { deletesAcknowledgements } from './acknowledgements.ts';
import { checkAcknowledgementKey, checkKeys, columnTypes } from './catalog.ts';
import { countDue } from './count.ts';
import { operationsAt, readClock } from './cutoff.ts';
import { explainSqlError } from './errors.ts';
import { guardViolation } from './guard.ts';
import { adviseIndexes } from './index-advice.ts';
import { countKept, type Kept } from './kept.ts';
import type { Changes, Operation } from './operation.ts';
import type { RunOptions } from './options.ts';
import { checkReferences, inboundKeys } from './references.ts';
import { checkReplicationVisible } from './replication-lag.ts';
import { type Tables, tablesIn } from './tables.ts';

/** One operation of a run, counted before the first write; `error` says why it cannot run at all. */
export interface PlannedOperation {
  operation: Operation;
  changes: Changes;
  /** Rows that other tables keep from being deleted. */
  kept: Kept[];
  error?: string;
}

/** What a run would do, and what the guard says to it. */
export interface Plan {
  operations: PlannedOperation[];
  violation: string | undefined;
  /** True where acknowledgements were asked for, and stay since the policy keeps them for seven years or more. */
  auditTrailKept: boolean;
  indexAdvice: IndexAdvice[];
}

/**
 * Reads clock, catalog and due rows in one read-only snapshot; nothing is locked. A real run and a dry run start from
 * the same plan. Throws ConfigurationError for a schema that the operations do not fit, and whatever a statement throws
 * after `stop` was aborted.
 */
export async function planRun(options: RunOptions, session: Session, stop: AbortSignal): Promise<Plan> {
  const settings = {
    lockTimeoutMs: milliseconds(options.limits.lockTimeout),
    // Counting a backlog may take longer than a batch ever should; the run's own end bounds it.
    statementTimeoutMs: milliseconds(options.limits.maxDuration),
    readOnlySnapshot: true,
    stop,
  };
  return session.transaction(settings, async (client) => {
    if (!options.dryRun) await refuseStandby(client);
    if (options.limits.maxReplicationLag !== undefined) await checkReplicationVisible(client);
    const tables = tablesIn(options.schema);
    const types = await columnTypes(client, options.schema);
    await checkKeys(client, options.schema);
    const instant = options.instant ?? (await readClock(client));
    const all = await operationsAt(
      client,
      { tables, retention: options.retention, instant, keys: await inboundKeys(client, tables) },
      types,
      options.timestampTimeZone,
    );
    const gated = !options.ignoreAuditTrailGate && !deletesAcknowledgements(options.retention);
    const wanted = cleanupOperations.filter(
      (name) => options.operations.includes(name) && !(name === 'acknowledgements' && gated),
    );
    // Counting leaves the other processors to the foreground, and what the planner guesses too high is not compiled.
    await client.query(
      `select set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true)`,
    );
    const operations: PlannedOperation[] = [];
    for (const name of wanted) operations.push(await planOperation(client, tables, all[name], stop));
    return {
      operations,
      violation: await guardViolation(client, options.guard, operations),
      auditTrailKept: gated && options.operations.includes('acknowledgements'),
      indexAdvice: await adviseIndexes(client, tables, operations, options.log),
    };
  });
}

/** Counts one operation's rows under a savepoint, so that its failure leaves the others their snapshot. */
async function planOperation(
  client: pg.Client,
  tables: Tables,
  operation: Operation,
  stop: AbortSignal,
): Promise<PlannedOperation> {
  stop.throwIfAborted();
  await client.query('savepoint operation');
  try {
    if (operation.name === 'instructions') await checkAcknowledgementKey(client, tables);
    checkReferences(operation.table, operation.keys?.references ?? []);
    return { operation, changes: await countDue(client, operation), kept: await countKept(client, operation) };
  } catch (error) {
    if (stop.aborted) throw error;
    await client.query('rollback to savepoint operation');
    return { operation, changes: {}, kept: [], error: explainSqlError(error) };
  }
}

async function refuseStandby(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ standby: boolean }>('select pg_is_in_recovery() as standby');
  if (rows[0]!.standby) {
    throw new ConfigurationError(
      'this server is a standby, which takes no changes; connect to the primary (dry runs and statistics work here)',
    );
  }
}
