import { setTimeout as sleep } from 'node:timers/promises';
import type { Session, TransactionSettings } from '../database/session.ts';
import type { Failures } from './bad-rows.ts';
import type { Budget } from './budget.ts';
import { addChanges, type Changes, type Operation, rowsOf } from './operation.ts';
import type { Pace } from './pace.ts';

/** What an operation's walks work with. Times in milliseconds. */
export interface Walk {
  session: Session;
  operation: Operation;
  settings: TransactionSettings;
  pace: Pace;
  pauseMs: number;
  /** Called after the pause; the next batch begins when it is done. */
  betweenBatches(): Promise<void>;
  progress: WalkProgress;
  budget: Budget;
  /** When aborted, no new transaction begins. */
  stop: AbortSignal;
  onBatch(progress: WalkProgress): void;
}

/** What a walk did so far; kept up to date so that it is there when the walk fails half-way. */
export interface WalkProgress {
  changes: Changes;
  batches: number;
  skipped: number;
  /** Rows that could not be changed, each for a reason of its own. */
  failures: Failures;
  stopped: boolean;
}

/** Notes that a walk ends early, with rows that it has passed over and not tried again. */
export function markStopped(progress: WalkProgress, untried: number): void {
  progress.stopped = true;
  progress.skipped += untried;
}

/** Counts what a transaction did, if it did something. */
export function recordBatch({ progress, budget, onBatch }: Walk, changes: Changes): void {
  if (rowsOf(changes) === 0) return;
  budget.left -= rowsOf(changes);
  progress.changes = addChanges(progress.changes, changes);
  progress.batches += 1;
  onBatch(progress);
}

/** Between batches, outside any transaction. */
export async function pauseAfterBatch({ pauseMs, betweenBatches, stop }: Walk): Promise<void> {
  if (pauseMs > 0) await sleep(pauseMs, undefined, { signal: stop }).catch(() => {});
  await betweenBatches();
}
