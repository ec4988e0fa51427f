import { milliseconds } from '../api/duration.ts';
import { cutTexts, type IndexAdvice, type OperationResult, type Result, type RunResult } from '../api/run-result.ts';
import { ConfigurationError } from '../database/config.ts';
import { acquireRunLock } from '../database/run-lock.ts';
import { Session } from '../database/session.ts';
import { explainSqlError } from './errors.ts';
import type { Violation } from './guard.ts';
import { keptNotes } from './kept.ts';
import { openerOf } from './opener.ts';
import { rowsOf } from './operation.ts';
import type { RunOptions } from './options.ts';
import { type Plan, planRun } from './plan.ts';
import { replicationBrake } from './replication-lag.ts';
import { runOperation, secondsBetween } from './run-operation.ts';
import { type Stop, stopOf, stoppedBy } from './stop.ts';
import { vacuumAfter } from './vacuum.ts';

const runLockWaitMs = 60_000;

/** How a run ended, before it is dressed up as RunResult. */
interface Outcome {
  result: Result;
  operations: OperationResult[];
  notes: string[];
  indexAdvice?: IndexAdvice[];
}

/**
 * Runs the operations in their order and says how it went. Whatever fails becomes part of the result; thrown is only
 * ConfigurationError, for input that has to be corrected before any run can do anything.
 */
export async function runRetention(options: RunOptions): Promise<RunResult> {
  const started = options.now();
  const opener = () => openerOf(options, () => stop);
  const session = new Session(opener(), options.log, options.retryPausesMs, options.silence);
  const stop = stopOf(options, session);
  try {
    const outcome = await (options.dryRun
      ? dryRun(options, session, stop)
      : underRunLock({ ...options, connect: opener() }, session, stop)
    ).catch((error): Outcome => {
      if (error instanceof ConfigurationError) throw error;
      if (stop.signal.aborted) return { result: 'Partial', operations: [], notes: [stoppedBy(stop, error)] };
      return { result: 'Failed', operations: [], notes: [explainSqlError(error)] };
    });
    return runResult(options, started, outcome);
  } finally {
    stop.dispose();
    await session.close();
  }
}

function runResult(
  options: RunOptions,
  started: Date,
  { result, operations, notes, indexAdvice = [] }: Outcome,
): RunResult {
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
    ...(indexAdvice.length === 0 ? {} : { indexAdvice }),
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
  const operations = plan.operations.map(({ operation, changes, kept, untaken, error }): OperationResult => {
    const counted = { name: operation.name, cutoff: operation.cutoff, ...changes };
    options.log.info({ ...counted, error }, 'would change');
    return {
      ...counted,
      skipped: 0,
      ...untaken,
      ...(kept.length === 0 ? {} : { kept, message: keptNotes(kept).join('; ') }),
      batches: 0,
      durationSeconds: 0,
      ...(error === undefined ? {} : { error }),
    };
  });
  const notes = [
    ...(plan.violations.length === 0 ? [] : [`a real run would be Blocked: ${whysOf(plan.violations)}`]),
    ...failures(operations),
    ...auditTrailNotes(plan),
    ...plan.notes,
  ];
  return { result: resultOf(operations, 'DryRun'), operations, notes, indexAdvice: plan.indexAdvice };
}

async function underRunLock(options: RunOptions, session: Session, stop: Stop): Promise<Outcome> {
  const waitMs = options.runLockWaitMs ?? runLockWaitMs;
  const lock = await acquireRunLock(options.connect, options.schema, waitMs, stop.signal, options.silence);
  if (lock === undefined) {
    const note = `another run has been at work on this database and schema for ${waitMs / 1000} s; nothing was changed`;
    return { result: 'Skipped', operations: [], notes: [note] };
  }
  lock.lost.addEventListener('abort', () => stop.for(String(lock.lost.reason)));
  // As long as the lock's own transaction is open, the server has not crashed either: no commit has been lost unseen.
  session.confirmLock = lock.confirm;
  try {
    const plan = await planRun(options, session, stop.signal);
    if (plan.violations.length > 0) return blocked(plan);
    return await execute(plan, options, session, stop);
  } finally {
    await lock.release();
  }
}

const whysOf = (violations: readonly Violation[]) => violations.map(({ why }) => why).join('; ');

function blocked({ violations, notes }: Plan): Outcome {
  const remedies = violations.map(({ remedy }) => remedy).join('. ');
  const message = `${whysOf(violations)}. Nothing was changed. ${remedies}`;
  return { result: 'Blocked', operations: [], notes: [message, ...notes] };
}

async function execute(plan: Plan, options: RunOptions, session: Session, stop: Stop): Promise<Outcome> {
  const operations: OperationResult[] = [];
  const overBudget: string[] = [];
  const notOnDisk: string[] = [];
  const settings = readingSettings(options);
  const limit = options.limits.maxReplicationLag;
  const brake = limit === undefined ? undefined : replicationBrake(session, settings, limit, options.log);
  for (const planned of plan.operations) {
    if (stop.signal.aborted) break;
    const { result, exceeded, unsure } = await runOperation(
      planned,
      options,
      session,
      stop.signal,
      brake,
      plan.budgets,
    );
    operations.push(result);
    if (exceeded !== undefined) overBudget.push(`${result.name}: ${exceeded}`);
    if (unsure !== undefined) notOnDisk.push(`${result.name}: ${unsure}`);
  }
  const stopped = stop.signal.aborted;
  const changed = operations.map((each, index) => ({
    table: plan.operations[index]!.operation.table,
    rows: rowsOf(each),
  }));
  const { notes: vacuumNotes, deadRows } = await vacuumAfter(changed, options, session, settings, stop);
  const held = brake?.heldBackBy === undefined ? '' : `, it waited since ${brake.heldBackBy}`;
  return {
    result: stopped
      ? 'Partial'
      : resultOf(operations, overBudget.length + notOnDisk.length > 0 ? 'Partial' : 'Succeeded'),
    operations: operations.map((each, index) => withDeadRows(each, deadRows.get(changed[index]!.table))),
    notes: [
      ...(stopped ? [`${stop.note}${held}`] : []),
      ...failures(operations),
      ...overBudget,
      ...notOnDisk,
      ...auditTrailNotes(plan),
      ...plan.notes,
      ...vacuumNotes,
    ],
    indexAdvice: plan.indexAdvice,
  };
}

const failures = (operations: readonly OperationResult[]) =>
  operations.flatMap((operation) => {
    const { name, error, failed, message } = operation;
    if (error !== undefined) return [`${name} failed: ${error}`];
    if (didNothing(operation)) return [`${name}: none of the rows due was changed; ${message}`];
    return failed === undefined ? [] : [`${name}: ${message}`];
  });

/** Whether others held all that was due: what lasts, such as a forgotten transaction, must not look like a success. */
const didNothing = (operation: OperationResult) => operation.skipped > 0 && rowsOf(operation) === 0;

function resultOf(operations: readonly OperationResult[], success: Result): Result {
  const failed = operations.filter(({ error }) => error !== undefined).length;
  if (failed > 0) return failed === operations.length ? 'Failed' : 'Partial';
  const left = operations.some((operation) => operation.failed !== undefined || didNothing(operation));
  return left ? 'Partial' : success;
}

/** For looking at others, and at the tables. */
const readingSettings = ({ limits }: RunOptions) => ({
  lockTimeoutMs: milliseconds(limits.lockTimeout),
  statementTimeoutMs: milliseconds(limits.statementTimeout),
  readOnlySnapshot: true,
});

const withDeadRows = (result: OperationResult, deadRows: number | undefined): OperationResult =>
  deadRows === undefined ? result : { ...result, deadRows };
