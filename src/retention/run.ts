import { milliseconds } from '../api/duration.ts';
import { cutTexts, type OperationResult, type Result, type RunResult } from '../api/run-result.ts';
import type { CleanupOperation } from '../api/spec.ts';
import { ConfigurationError } from '../database/config.ts';
import { acquireRunLock } from '../database/run-lock.ts';
import { Session } from '../database/session.ts';
import { walkBlocks } from './block-walk.ts';
import { blocksToWalk } from './choose-walk.ts';
import { explainSqlError } from './errors.ts';
import { type Changes, rowsOf } from './operation.ts';
import type { RunOptions } from './options.ts';
import { Pace } from './pace.ts';
import { type Plan, type PlannedOperation, planRun } from './plan.ts';
import { type Stop, stopOf } from './stop.ts';
import { type Walk, type WalkProgress, walkKeyset } from './walk.ts';

const runLockWaitMs = 60_000;

/** How a run ended, before it is dressed up as RunResult. */
interface Outcome {
  result: Result;
  operations: OperationResult[];
  notes: string[];
}

/**
 * Runs the operations in their order and says how it went. Whatever fails becomes part of the result; thrown is only
 * ConfigurationError, for input that has to be corrected before any run can do anything.
 */
export async function runRetention(options: RunOptions): Promise<RunResult> {
  const started = options.now();
  const session = new Session(() => options.connect(stop.abandon), options.log, options.retryPausesMs);
  const stop = stopOf(options, session);
  try {
    const outcome = await (options.dryRun
      ? dryRun(options, session, stop)
      : underRunLock(options, session, stop)
    ).catch((error): Outcome => {
      if (error instanceof ConfigurationError) throw error;
      if (stop.signal.aborted) return { result: 'Partial', operations: [], notes: [stop.note] };
      return { result: 'Failed', operations: [], notes: [explainSqlError(error)] };
    });
    return runResult(options, started, outcome);
  } finally {
    stop.dispose();
    await session.close();
  }
}

/** Never negative, should the machine's clock be set back meanwhile. */
const secondsBetween = (started: Date, ended: Date) => Math.max(0, ended.getTime() - started.getTime()) / 1000;

function runResult(options: RunOptions, started: Date, { result, operations, notes }: Outcome): RunResult {
  const ended = options.now();
  return cutTexts({
    ...options.identity,
    startTime: started.toISOString(),
    completionTime: ended.toISOString(),
    durationSeconds: secondsBetween(started, ended),
    result,
    rows: operations.reduce((sum, operation) => sum + rowsOf(operation), 0),
    operations,
    policy: options.retention,
    ...(notes.length === 0 ? {} : { message: notes.join('; ') }),
  });
}

const auditTrailNotes = (plan: Plan) =>
  plan.auditTrailKept
    ? ['acknowledgements are kept: acknowledgementRetentionDays is seven years (2555 days) or more']
    : [];

/** The counts that a real run would reach. Writes nothing and locks nothing. */
async function dryRun(options: RunOptions, session: Session, stop: Stop): Promise<Outcome> {
  const plan = await planRun(options, session, stop.signal);
  const operations = plan.operations.map(({ operation, changes, error }): OperationResult => {
    const counted = { name: operation.name, cutoff: operation.cutoff, ...changes };
    options.log.info({ ...counted, error }, 'would change');
    return { ...counted, skipped: 0, batches: 0, durationSeconds: 0, ...(error === undefined ? {} : { error }) };
  });
  const notes = [
    ...(plan.violation === undefined ? [] : [`a real run would be Blocked: ${plan.violation}`]),
    ...failures(operations),
    ...auditTrailNotes(plan),
  ];
  return { result: resultOf(operations, 'DryRun'), operations, notes };
}

async function underRunLock(options: RunOptions, session: Session, stop: Stop): Promise<Outcome> {
  const waitMs = options.runLockWaitMs ?? runLockWaitMs;
  const lock = await acquireRunLock(() => options.connect(stop.abandon), options.schema, waitMs, stop.signal);
  if (lock === undefined) {
    const note = `another run has been at work on this database and schema for ${waitMs / 1000} s; nothing was changed`;
    return { result: 'Skipped', operations: [], notes: [note] };
  }
  lock.lost.addEventListener('abort', () => stop.for(String(lock.lost.reason)));
  // As long as the lock's own transaction is open, the server has not crashed either: no commit has been lost unseen.
  session.beforeReconnecting = lock.confirm;
  try {
    const plan = await planRun(options, session, stop.signal);
    if (plan.violation !== undefined) return blocked(plan.violation);
    return await execute(plan, options, session, stop);
  } finally {
    await lock.release();
  }
}

function blocked(violation: string): Outcome {
  const advice =
    'Nothing was changed. If that many are meant to go, raise spec.guard (by hand, in a file for --file); otherwise check the periods of the policy';
  return { result: 'Blocked', operations: [], notes: [`${violation}. ${advice}`] };
}

async function execute(plan: Plan, options: RunOptions, session: Session, stop: Stop): Promise<Outcome> {
  const operations: OperationResult[] = [];
  for (const planned of plan.operations) {
    if (stop.signal.aborted) break;
    operations.push(await runOperation(planned, options, session, stop.signal));
  }
  const notes = [...(stop.signal.aborted ? [stop.note] : []), ...failures(operations), ...auditTrailNotes(plan)];
  return { result: stop.signal.aborted ? 'Partial' : resultOf(operations, 'Succeeded'), operations, notes };
}

const failures = (operations: readonly OperationResult[]) =>
  operations.flatMap(({ name, error }) => (error === undefined ? [] : [`${name} failed: ${error}`]));

function resultOf(operations: readonly OperationResult[], success: Result): Result {
  const failed = failures(operations).length;
  if (failed === 0) return success;
  return failed === operations.length ? 'Failed' : 'Partial';
}

async function runOperation(
  { operation, changes: expected, error: obstacle }: PlannedOperation,
  options: RunOptions,
  session: Session,
  stop: AbortSignal,
): Promise<OperationResult> {
  const started = options.now();
  const progress: WalkProgress = { changes: emptied(expected), batches: 0, skipped: 0, stopped: false, onDisk: true };
  const due = rowsOf(expected);
  const walk: Walk = {
    session,
    operation,
    settings: {
      schema: options.schema,
      lockTimeoutMs: milliseconds(options.limits.lockTimeout),
      statementTimeoutMs: milliseconds(options.limits.statementTimeout),
      waitForDisk: false,
      stop,
    },
    pace: new Pace(options.retention.batchSize, options.fixedBatchSize !== true),
    pauseMs: milliseconds(options.limits.pauseBetweenBatches),
    progress,
    stop,
    onBatch({ changes, batches }) {
      options.log.debug({ operation: operation.name, batch: batches, ...changes }, 'batch');
      options.onProgress?.({ operation: operation.name, rows: rowsOf(changes), due, batches });
    },
  };
  let error = obstacle;
  if (error === undefined && due > 0) {
    try {
      await changeAll(walk, due, options.walk);
    } catch (cause) {
      // After a stop, an error is the cancelled statement: rolled back, and no failure of the operation's own.
      if (stop.aborted) progress.stopped = true;
      else error = explainSqlError(cause);
    }
    // Batches are committed without waiting for the disk.
    if (progress.batches > 0)
      await session.flush(walk.settings).catch((cause) => {
        progress.onDisk = false;
        options.log.warn({ error: explainSqlError(cause) }, 'cannot make sure that commits are on disk');
      });
  }
  const message = noteOf(operation.name, progress);
  const result: OperationResult = {
    name: operation.name,
    cutoff: operation.cutoff,
    ...progress.changes,
    skipped: progress.skipped,
    batches: progress.batches,
    durationSeconds: secondsBetween(started, options.now()),
    ...(message === undefined ? {} : { message }),
    ...(error === undefined ? {} : { error }),
  };
  if (error !== undefined) options.log.error(result, 'operation failed');
  else if (message !== undefined) options.log.warn(result, 'operation done');
  else options.log.info(result, 'operation done');
  return result;
}

/**
 * Changes what is due: a backlog block by block where that is cheaper, and along the keyset what is left then.
 */
async function changeAll(walk: Walk, due: number, order?: RunOptions['walk']): Promise<void> {
  const table = order === 'keyset' ? undefined : await blocksToWalk(walk, due, order);
  if (table !== undefined) await walkBlocks(walk, table);
  // Fewer than were counted: some were locked, or have moved.
  if (!walk.stop.aborted && rowsOf(walk.progress.changes) < due) await walkKeyset(walk);
}

const emptied = (like: Changes): Changes => Object.fromEntries(Object.keys(like).map((action) => [action, 0]));

function noteOf(name: CleanupOperation, { changes, skipped, stopped, onDisk }: WalkProgress): string | undefined {
  const notes = [
    ...(name === 'acknowledgements' && changes.deleted
      ? [`the audit trail is shorter by ${changes.deleted} acknowledgements`]
      : []),
    ...(skipped > 0 ? [`${skipped} rows were locked by others and are left for the next run`] : []),
    ...(stopped ? ['not finished'] : []),
    ...(onDisk ? [] : ['what was changed may not be on disk yet']),
  ];
  return notes.length === 0 ? undefined : notes.join('; ');
}
