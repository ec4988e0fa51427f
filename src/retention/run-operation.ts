import { milliseconds } from '../api/duration.ts';
import type { OperationResult } from '../api/run-result.ts';
import type { Session } from '../database/session.ts';
import { Failures } from './bad-rows.ts';
import { walkBlocks } from './block-walk.ts';
import type { Budget, Budgets } from './budget.ts';
import { blocksToWalk } from './choose-walk.ts';
import { explainSqlError } from './errors.ts';
import { type Kept, keptNotes } from './kept.ts';
import { walkKeyset } from './keyset-walk.ts';
import { lockHolders } from './lock-holders.ts';
import { type Changes, type Operation, rowsOf, type Step } from './operation.ts';
import type { RunOptions } from './options.ts';
import { Pace } from './pace.ts';
import type { PlannedOperation } from './plan.ts';
import type { ReplicationBrake } from './replication-lag.ts';
import type { Walk, WalkProgress } from './walk.ts';

/** Never negative, should the machine's clock be set back meanwhile. */
export const secondsBetween = (started: Date, ended: Date): number =>
  Math.max(0, ended.getTime() - started.getTime()) / 1000;

/**
 * Does one operation of a run, and says how it went; whatever fails is part of what it says. `exceeded` is a sentence where
 * more became due than its budget, `unsure` one where what it changed may be lost when the server crashes.
 */
export async function runOperation(
  { operation, changes: expected, kept, untaken, error: obstacle }: PlannedOperation,
  options: RunOptions,
  session: Session,
  stop: AbortSignal,
  brake: ReplicationBrake | undefined,
  budgets: Budgets,
): Promise<{ result: OperationResult; exceeded: string | undefined; unsure: string | undefined }> {
  const started = options.now();
  const budget = budgets.for(operation, expected);
  const progress: WalkProgress = {
    changes: emptied(expected),
    batches: 0,
    skipped: 0,
    failures: new Failures(),
    stopped: false,
  };
  const due = rowsOf(expected);
  const walk: Walk = {
    session,
    operation,
    settings: {
      lockTimeoutMs: milliseconds(options.limits.lockTimeout),
      statementTimeoutMs: milliseconds(options.limits.statementTimeout),
      operation: operation.name,
      waitForDisk: false,
      stop,
    },
    pace: new Pace(options.retention.batchSize, options.fixedBatchSize !== true),
    pauseMs: milliseconds(options.limits.pauseBetweenBatches),
    // A run that has done all that was due has nothing to wait for.
    async betweenBatches() {
      if (rowsOf(progress.changes) < due) await brake?.wait(stop);
    },
    progress,
    budget,
    stop,
    onBatch({ changes, batches }) {
      options.log.debug({ operation: operation.name, batch: batches, ...changes }, 'batch');
      options.onProgress?.({ operation: operation.name, rows: rowsOf(changes), due, batches });
    },
  };
  let error = obstacle;
  let unsure: string | undefined;
  if (error === undefined && due > 0) {
    try {
      await walk.betweenBatches();
      await changeAll(walk, expected, options.walk);
    } catch (cause) {
      // After a stop, an error is the cancelled statement: rolled back, and no failure of the operation's own.
      if (stop.aborted) progress.stopped = true;
      else error = explainSqlError(cause);
    }
    // Batches are committed without waiting for the disk.
    if (progress.batches > 0)
      await session.flush(walk.settings).catch((cause) => {
        unsure = `what was changed may not be on disk yet: ${explainSqlError(cause)}`;
        options.log.warn({ error: explainSqlError(cause) }, 'cannot make sure that commits are on disk');
      });
  }
  const failed = failedNote(operation, progress.failures);
  // What could be done for no row at all is a failure of the operation, and said once.
  const allFailed = error === undefined && failed !== undefined && rowsOf(progress.changes) === 0 && !progress.stopped;
  if (allFailed) error = failed;
  const holders = progress.skipped > 0 && !stop.aborted ? await holdersOf(walk, options.log) : undefined;
  const message = noteOf(operation, progress, allFailed ? undefined : failed, holders, kept, budget, unsure);
  const result: OperationResult = {
    name: operation.name,
    cutoff: operation.cutoff,
    ...progress.changes,
    skipped: progress.skipped,
    ...(progress.failures.count === 0 ? {} : { failed: progress.failures.count }),
    ...untaken,
    ...(kept.length === 0 ? {} : { kept }),
    batches: progress.batches,
    durationSeconds: secondsBetween(started, options.now()),
    ...(message === undefined ? {} : { message }),
    ...(error === undefined ? {} : { error }),
  };
  if (error !== undefined) options.log.error(result, 'operation failed');
  else if (progress.failures.count > 0) options.log.error(result, 'rows failed');
  else if (message !== undefined) options.log.warn(result, 'operation done');
  else options.log.info(result, 'operation done');
  budgets.took(expected, progress.changes);
  return { result, exceeded: budget.note, unsure };
}

/** So many keys are found by one statement and kept in memory; more are paged. */
const maxKeysListed = 20_000;

/** Changes what is due: a backlog block by block where that is cheaper, the rest, or what is left then, by key. */
async function changeAll(walk: Walk, due: Changes, order: RunOptions['walk']): Promise<void> {
  // Rows that refer to each other are taken as they were counted: what is freed on the way is left for the next run.
  const entangled = walk.operation.keys?.references.some(({ own }) => own) ?? false;
  if (!entangled && (order === undefined || order === 'blocks')) {
    const table = await blocksToWalk(walk, due, order);
    if (table !== undefined) await walkBlocks(walk, table);
  }
  const { operation, progress } = walk;
  const dealtWith = () => rowsOf(progress.changes) + progress.failures.count;
  let left = -progress.failures.count;
  const byKey = async (step: Step) => {
    const before = dealtWith();
    await walkKeyset(walk, step, !entangled && (order === 'keyset' || left > maxKeysListed) ? 'pages' : 'list');
    left -= dealtWith() - before;
  };
  for (const step of operation.steps) {
    // Fewer than were counted: some were locked, have moved, or are due for the next step by now.
    left += (due[step.action] ?? 0) - (progress.changes[step.action] ?? 0);
    if (left > 0 && !progress.stopped) await byKey(step);
  }
  // Or for the step before, when an acknowledgement has gone meanwhile.
  if (entangled) return;
  for (const step of operation.steps.slice(0, -1)) {
    if (left > 0 && progress.skipped === 0 && !progress.stopped) await byKey(step);
  }
}

/** Who may hold the rows that were skipped; undefined where that cannot be found out: the result does without. */
async function holdersOf({ session, settings, operation }: Walk, log: RunOptions['log']): Promise<string | undefined> {
  try {
    const holders = await session.transaction(settings, (client) => lockHolders(client, operation.table));
    return holders === undefined ? undefined : `locks on ${operation.table} are held by ${holders}`;
  } catch (error) {
    log.warn({ error: explainSqlError(error) }, 'cannot find out who holds locks');
    return undefined;
  }
}

const emptied = (like: Changes): Changes => Object.fromEntries(Object.keys(like).map((action) => [action, 0]));

function failedNote({ primaryKey }: Operation, { count, first }: Failures): string | undefined {
  if (count === 0) return undefined;
  return `${count} rows could not be changed and are left as they are; the first, ${primaryKey} ${first}`;
}

function noteOf(
  { name }: Operation,
  { changes, skipped, stopped }: WalkProgress,
  failed: string | undefined,
  holders: string | undefined,
  kept: readonly Kept[],
  budget: Budget,
  unsure: string | undefined,
): string | undefined {
  const notes = [
    ...(budget.note === undefined ? [] : [budget.note]),
    ...(name === 'acknowledgements' && changes.deleted
      ? [`the audit trail is shorter by ${changes.deleted} acknowledgements`]
      : []),
    ...(skipped > 0 ? [`${skipped} rows were locked by others and are left for the next run`] : []),
    ...(holders === undefined ? [] : [holders]),
    ...(failed === undefined ? [] : [failed]),
    ...keptNotes(kept),
    ...(stopped ? ['not finished'] : []),
    ...(unsure === undefined ? [] : [unsure]),
  ];
  return notes.length === 0 ? undefined : notes.join('; ');
}
