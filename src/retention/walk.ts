import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Session } from '../database/session.ts';
import { addChanges, type Changes, type Operation } from './operation.ts';

/** Bounds of a walk; times in milliseconds. */
export interface WalkLimits {
  batchSize: number;
  lockTimeoutMs: number;
  statementTimeoutMs: number;
  pauseMs: number;
  /** Called outside a transaction after each batch; the next begins when it is done. */
  betweenBatches?: () => Promise<void>;
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
 * Changes all due rows in batches, one transaction each, along the keyset (age column, primary key).
 * Rows that others hold locked are passed over and tried once more at the end. Ends early, with `stopped` set, when
 * `stop` is aborted: then no new transaction begins. Errors of the database are thrown; `progress` keeps what is done.
 */
export async function walk(
  session: Session,
  schema: string,
  operation: Operation,
  limits: WalkLimits,
  progress: WalkProgress,
  stop: AbortSignal,
  onBatch: (progress: WalkProgress) => void,
): Promise<void> {
  const { lockTimeoutMs, statementTimeoutMs } = limits;
  const settings = { schema, lockTimeoutMs, statementTimeoutMs, operation: operation.name };
  const locked: string[] = [];
  let position: Key | undefined;
  for (;;) {
    if (stop.aborted) return markStopped(progress, locked.length);
    const batch = await session.transaction(settings, async (client) => {
      const window = await look(client, operation, position, limits.batchSize);
      const end = window.at(-1);
      if (end === undefined) return undefined;
      const ids = await lock(client, operation, position, end, limits.batchSize);
      const changes = ids.length === 0 ? {} : await operation.change(client, ids);
      const taken = new Set(ids);
      return { end, ids, changes, passed: window.map((key) => key.id).filter((id) => !taken.has(id)) };
    });
    if (batch === undefined) break;
    position = batch.end;
    for (const id of batch.passed) {
      if (locked.length < maxKeysKept) locked.push(id);
      else progress.skipped += 1;
    }
    if (batch.ids.length > 0) record(progress, batch.changes, onBatch);
    if (limits.pauseMs > 0) await sleep(limits.pauseMs, undefined, { signal: stop }).catch(() => {});
    await limits.betweenBatches?.();
  }
  for (const [index, id] of locked.entries()) {
    if (stop.aborted) return markStopped(progress, locked.length - index);
    const changes = await retryLocked(session, settings, operation, id);
    if (changes === 'locked') progress.skipped += 1;
    else if (changes !== 'no longer due') record(progress, changes, onBatch);
  }
}

function markStopped(progress: WalkProgress, untried: number): void {
  progress.stopped = true;
  progress.skipped += untried;
}

function record(progress: WalkProgress, changes: Changes, onBatch: (progress: WalkProgress) => void): void {
  progress.changes = addChanges(progress.changes, changes);
  progress.batches += 1;
  onBatch(progress);
}

/** The next due rows past a position, locked or not: the window of a batch. None left means the walk is over. */
async function look(client: pg.Client, o: Operation, after: Key | undefined, limit: number): Promise<Key[]> {
  const n = o.dueParameters.length;
  const { rows } = await client.query<Key>(
    `select t.${o.primaryKey}::text as id, t.${o.ageColumn}::text as age
       from ${o.table} t
      where ${o.due}
        ${past(o, after, n + 2)}
      order by t.${o.ageColumn}, t.${o.primaryKey}
      limit $${n + 1}`,
    [...o.dueParameters, limit, ...parametersOf(after)],
  );
  return rows;
}

/**
 * Locks the due rows of a window, passing over those that others hold. Predicate, order, limit and lock stand at one
 * query level: around a subselect, rows would be locked and changed that are no longer due (measured).
 */
async function lock(
  client: pg.Client,
  o: Operation,
  after: Key | undefined,
  end: Key,
  limit: number,
): Promise<string[]> {
  const n = o.dueParameters.length;
  const { rows } = await client.query<{ id: string }>(
    `select t.${o.primaryKey}::text as id
       from ${o.table} t
      where ${o.due}
        and (t.${o.ageColumn}, t.${o.primaryKey}) <= ($${n + 2}, $${n + 3})
        ${past(o, after, n + 4)}
      order by t.${o.ageColumn}, t.${o.primaryKey}
      limit $${n + 1}
        for update of t skip locked`,
    [...o.dueParameters, limit, ...parametersOf(end), ...parametersOf(after)],
  );
  return rows.map((row) => row.id);
}

/** SQL for keys past a position, given as parameters from `first` on. The start is before every key, -infinity too. */
function past(o: Operation, position: Key | undefined, first: number): string {
  return position === undefined ? '' : `and (t.${o.ageColumn}, t.${o.primaryKey}) > ($${first}, $${first + 1})`;
}

const parametersOf = (position: Key | undefined) => (position === undefined ? [] : [position.age, position.id]);

/** One row that was locked before, in a transaction of its own: waits for it up to the lock timeout. */
async function retryLocked(
  session: Session,
  settings: { schema: string; lockTimeoutMs: number; statementTimeoutMs: number },
  o: Operation,
  id: string,
): Promise<Changes | 'locked' | 'no longer due'> {
  try {
    return await session.transaction(settings, async (client) => {
      const { rows } = await client.query<{ id: string }>(
        `select t.${o.primaryKey}::text as id
           from ${o.table} t
          where ${o.due}
            and t.${o.primaryKey} = $${o.dueParameters.length + 1}
            for update of t`,
        [...o.dueParameters, id],
      );
      return rows.length === 0 ? 'no longer due' : await o.change(client, [id]);
    });
  } catch (error) {
    if ((error as { code?: string }).code === lockNotAvailable) return 'locked';
    throw error;
  }
}
