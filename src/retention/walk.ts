import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Session, TransactionSettings } from '../database/session.ts';
import { changeLockedRows, lockRows, rowsByKey } from './batch.ts';
import { addChanges, type Changes, type Operation, rowsOf } from './operation.ts';
import type { Pace } from './pace.ts';

/** What an operation's walks work with. Times in milliseconds. */
export interface Walk {
  session: Session;
  operation: Operation;
  settings: TransactionSettings;
  pace: Pace;
  pauseMs: number;
  progress: WalkProgress;
  /** When aborted, no new transaction begins. */
  stop: AbortSignal;
  onBatch(progress: WalkProgress): void;
}

/** What a walk did so far; kept up to date so that it is there when the walk fails half-way. */
export interface WalkProgress {
  changes: Changes;
  batches: number;
  skipped: number;
  stopped: boolean;
}

/** Locked rows whose keys are kept for a second try; more are only counted. */
const maxKeysKept = 10_000;
const lockNotAvailable = '55P03';

interface Key {
  id: string;
  age: string;
}

/**
 * Changes all due rows in batches along the keyset (age column, primary key), one transaction per step of a batch. Rows
 * that others hold locked are passed over and tried once more at the end. Ends early, with `stopped` set, when `stop` is
 * aborted. Errors of the database are thrown; `progress` keeps what is done.
 */
export async function walkKeyset(walk: Walk): Promise<void> {
  const { progress, stop } = walk;
  const locked: string[] = [];
  let position: Key | undefined;
  for (;;) {
    if (stop.aborted) return markStopped(progress, locked.length);
    const started = performance.now();
    const window = await look(walk, position);
    if (window.length === 0) break;
    const passed = new Set(window.map((key) => key.id));
    let again = false;
    for (const step of walk.operation.steps) {
      if (stop.aborted) return markStopped(progress, locked.length);
      const { taken, changed } = await changeKeys(walk, step, [...passed], 'skip locked');
      for (const id of taken) passed.delete(id);
      again ||= changed < taken.length;
    }
    walk.pace.took(performance.now() - started);
    // A row that was locked, and then not due for the step any more, may be due for another one.
    if (!again) {
      position = window.at(-1);
      for (const id of passed) {
        if (locked.length < maxKeysKept) locked.push(id);
        else progress.skipped += 1;
      }
    }
    await pauseAfterBatch(walk);
  }
  await retryLocked(walk, locked);
}

/** The next due rows past a position, locked or not: the window of a batch. None left means the walk is over. */
function look({ session, settings, operation, pace }: Walk, after: Key | undefined): Promise<Key[]> {
  return session.transaction(settings, async (client) => {
    const { text, values } = windowQuery(operation, pace.rows, after);
    return (await client.query<Key>(text, values)).rows;
  });
}

/** Reads the keys of the next due rows past a position; from the start without one, which is before -infinity too. */
export function windowQuery(o: Operation, limit: number, after?: Key): { text: string; values: unknown[] } {
  const n = o.dueParameters.length;
  const past = after === undefined ? '' : `and (t.${o.ageColumn}, t.${o.primaryKey}) > ($${n + 2}, $${n + 3})`;
  return {
    text: `select t.${o.primaryKey}::text as id, t.${o.ageColumn}::text as age
             from ${o.table} t
            where ${o.due}
              ${past}
            order by t.${o.ageColumn}, t.${o.primaryKey}
            limit $${n + 1}`,
    values: [...o.dueParameters, limit, ...(after === undefined ? [] : [after.age, after.id])],
  };
}

/**
 * One step for some rows by primary key, in a transaction of its own: locked, looked at again, changed. Returns the
 * keys that were locked, and how many of these rows were still due and changed.
 */
async function changeKeys(
  walk: Walk,
  step: Operation['steps'][number],
  keys: readonly string[],
  others: 'skip locked' | 'wait',
): Promise<{ taken: string[]; changed: number }> {
  const { session, settings, operation } = walk;
  const { primaryKey } = operation;
  const done = await session.transaction(settings, async (client: pg.Client) => {
    const taken = await lockRows(client, operation, step, rowsByKey(primaryKey, keys), primaryKey, others);
    return { taken, changed: await changeLockedRows(client, operation, step, primaryKey, taken) };
  });
  recordBatch(walk, { [step.action]: done.changed });
  return done;
}

/** Each of the rows that were locked before, in a transaction of its own: waits for it up to the lock timeout. */
async function retryLocked(walk: Walk, ids: readonly string[]): Promise<void> {
  for (const [index, id] of ids.entries()) {
    if (walk.stop.aborted) return markStopped(walk.progress, ids.length - index);
    try {
      for (const step of walk.operation.steps) {
        if ((await changeKeys(walk, step, [id], 'wait')).changed > 0) break;
      }
    } catch (error) {
      if ((error as { code?: string }).code !== lockNotAvailable) throw error;
      walk.progress.skipped += 1;
    }
  }
}

export function markStopped(progress: WalkProgress, untried: number): void {
  progress.stopped = true;
  progress.skipped += untried;
}

/** Counts what a transaction did, if it did something. */
export function recordBatch({ progress, onBatch }: Walk, changes: Changes): void {
  if (rowsOf(changes) === 0) return;
  progress.changes = addChanges(progress.changes, changes);
  progress.batches += 1;
  onBatch(progress);
}

/** Between batches, outside any transaction. */
export async function pauseAfterBatch({ pauseMs, stop }: Walk): Promise<void> {
  if (pauseMs > 0) await sleep(pauseMs, undefined, { signal: stop }).catch(() => {});
}
