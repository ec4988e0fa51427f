import type pg from 'pg';
import { milliseconds } from '../api/duration.ts';
import type { EffectiveRetention } from '../api/effective.ts';
import type { IndexAdvice } from '../api/run-result.ts';
import { cleanupOperations } from '../api/spec.ts';
import { ConfigurationError } from '../database/config.ts';
import type { Session } from '../database/session.ts';
import { checkAcknowledgementKey } from './acknowledgement-key.ts';
import { deletesAcknowledgements } from './acknowledgements.ts';
import { Budgets } from './budget.ts';
import { checkKeys, columnTypes } from './catalog.ts';
import { refuseDistributed } from './citus.ts';
import { lookAtClock } from './clock.ts';
import { unconfirmed } from './confirm.ts';
import { countDue } from './count.ts';
import { operationsAt } from './cutoff.ts';
import { explainSqlError } from './errors.ts';
import { guardVerdict, type Violation } from './guard.ts';
import { adviseIndexes } from './index-advice.ts';
import { countKept, type Kept } from './kept.ts';
import { lookAtNewestRows, type Moment } from './newest-rows.ts';
import { type Changes, destroyed, type Operation } from './operation.ts';
import type { RunOptions } from './options.ts';
import { checkReferences, checkUpdatedColumns, inboundKeys } from './references.ts';
import { checkReplicationVisible } from './replication-lag.ts';
import { type Tables, tablesIn } from './tables.ts';
import { checkTimeZone } from './time-zone.ts';
import { countUntaken, type Untaken } from './untaken.ts';

/** One operation of a run, counted before the first write; `error` says why it cannot run at all. */
export interface PlannedOperation {
  operation: Operation;
  changes: Changes;
  /** Rows that other tables keep from being deleted. */
  kept: Kept[];
  /** Rows that it does not take however old they get; left out where counting them costs too much. */
  untaken?: Untaken;
  error?: string;
  /** What is to be said of its newest rows. */
  notes?: string[] | undefined;
}

/** What a run would do, and what the guard says to it. */
export interface Plan {
  operations: PlannedOperation[];
  violations: Violation[];
  budgets: Budgets;
  /** True where acknowledgements were asked for, and stay since the policy keeps them for seven years or more. */
  auditTrailKept: boolean;
  indexAdvice: IndexAdvice[];
  /** What else is to be said of what was found. */
  notes: string[];
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
    await refuseDistributed(client, options.schema);
    const types = await columnTypes(client, options.schema);
    await checkKeys(client, options.schema);
    await checkTimeZone(client, options.timestampTimeZone, types);
    const keys = await inboundKeys(client, tables);
    const { instant, fromDatabase, violation: wrongClock } = await lookAtClock(client, options);
    const allWith = (retention: EffectiveRetention) =>
      operationsAt(client, { tables, retention, instant, keys }, types, options.timestampTimeZone);
    const all = await allWith(options.retention);
    const gated = !options.ignoreAuditTrailGate && !deletesAcknowledgements(options.retention);
    const wanted = cleanupOperations.filter(
      (name) => options.operations.includes(name) && !(name === 'acknowledgements' && gated),
    );
    // Counting leaves the other processors to the foreground, and what the planner guesses too high is not compiled.
    await client.query('set local max_parallel_workers_per_gather to 0; set local jit to off');
    const moment = fromDatabase ? { instant, types, timeZone: options.timestampTimeZone } : undefined;
    const operations: PlannedOperation[] = [];
    for (const name of wanted) operations.push(await planOperation(client, tables, all[name], moment, stop));
    const shortened = await unconfirmed(client, options, operations, allWith);
    const { violation, allowed } = await guardVerdict(client, options.guard, operations);
    const total = operations.reduce((sum, { changes }) => sum + destroyed(changes), 0);
    return {
      operations,
      violations: [wrongClock, shortened, violation].filter((each) => each !== undefined),
      budgets: new Budgets(allowed, options.guard.maxRowsPerRun - total),
      auditTrailKept: gated && options.operations.includes('acknowledgements'),
      indexAdvice: await adviseIndexes(client, tables, operations, options.log),
      notes: operations.flatMap(({ notes = [] }) => notes),
    };
  });
}

/** Counts one operation's rows under a savepoint, so that its failure leaves the others their snapshot. */
async function planOperation(
  client: pg.Client,
  tables: Tables,
  operation: Operation,
  moment: Moment | undefined,
  stop: AbortSignal,
): Promise<PlannedOperation> {
  stop.throwIfAborted();
  await client.query('savepoint operation');
  try {
    if (operation.name === 'instructions') await checkAcknowledgementKey(client, tables);
    checkReferences(operation.table, operation.keys?.references ?? []);
    if (operation.updates.length > 0) await checkUpdatedColumns(client, operation.table, operation.updates);
    const counted = {
      changes: await countDue(client, operation),
      kept: await countKept(client, operation),
      untaken: await countUntaken(client, operation),
    };
    const { notes, refusal } = moment === undefined ? {} : await lookAtNewestRows(client, operation, moment);
    return { operation, notes, ...(refusal === undefined ? counted : { changes: {}, kept: [], error: refusal }) };
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
