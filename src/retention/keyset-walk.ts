import { lockNotAvailable, lookAgain } from './batch.ts';
import { changeKeys } from './change-keys.ts';
import type { Query } from './explain.ts';
import type { Operation, Step } from './operation.ts';
import { markStopped, pauseAfterBatch, type Walk } from './walk.ts';

/** Locked rows whose keys are kept for a second try; more are only counted. */
const maxKeysKept = 10_000;

/** A row's place in the keyset, as text. */
interface Key {
  id: string;
  age: string;
}

/** How due rows are found: all keys by one statement, or batch by batch past the last one's position. */
export type Lookup = 'list' | 'pages';

/**
 * Does one step to all rows it is due for, oldest first, in batches of one transaction each. Rows that others hold locked
 * are passed over and looked at again at the end. Ends early, with `stopped` set, when `stop` is aborted. Errors of the
 * database are thrown; `progress` keeps what is done.
 */
export async function walkKeyset(walk: Walk, step: Step, lookup: Lookup): Promise<void> {
  const { progress, stop, budget } = walk;
  if (stop.aborted) return markStopped(progress, 0);
  const locked: string[] = [];
  for await (const window of budget.within(lookup === 'list' ? listed(walk, step) : paged(walk, step))) {
    if (stop.aborted) return markStopped(progress, locked.length);
    const started = performance.now();
    const taken = new Set(await changeKeys(walk, step, window, 'skip locked'));
    walk.pace.took(performance.now() - started);
    for (const id of window) {
      if (taken.has(id)) continue;
      if (locked.length < maxKeysKept) locked.push(id);
      else progress.skipped += 1;
    }
    await pauseAfterBatch(walk);
  }
  if (stop.aborted || budget.exceeded) return markStopped(progress, locked.length);
  await retryLocked(walk, step, locked);
}

/** Batches of keys from one look for all of them: the planner may join, which suits few due rows among many kept. */
async function* listed(walk: Walk, step: Step): AsyncGenerator<string[]> {
  const keys = await look(walk, listQuery(walk.operation, step));
  for (let from = 0; from < keys.length; ) {
    const to = from + walk.pace.rows;
    yield keys.slice(from, to).map((key) => key.id);
    from = to;
  }
}

/**
 * Batches of keys, each from a look past the last one's position, locked rows or not. It never starts again from the
 * beginning, where dead rows may pile up. Only a look that finds nothing ends the walk.
 */
async function* paged(walk: Walk, step: Step): AsyncGenerator<string[]> {
  let position: Key | undefined;
  while (!walk.stop.aborted) {
    const window = await look(walk, pageQuery(walk.operation, step, walk.pace.rows, position));
    position = window.at(-1);
    if (position === undefined) return;
    yield window.map((key) => key.id);
  }
}

function look({ session, settings }: Walk, { text, values }: Query): Promise<Key[]> {
  return session.transaction(settings, async (client) => (await client.query<Key>(text, values)).rows);
}

function listQuery(o: Operation, { from }: Step): Query {
  return {
    text: `select t.${o.primaryKey}::text as id, t.${o.ageColumn}::text as age
             from ${from}
            order by t.${o.ageColumn}, t.${o.primaryKey}`,
    values: [...o.dueParameters],
  };
}

/** Reads the keys of the next due rows past a position; from the start without one, which is before -infinity too. */
export function pageQuery(o: Operation, { due }: Step, limit: number, after?: Key): Query {
  const n = o.dueParameters.length;
  // Under the pinned path a row comparison means PostgreSQL's own.
  const past = after === undefined ? '' : `and (t.${o.ageColumn}, t.${o.primaryKey}) > ($${n + 2}, $${n + 3})`;
  return {
    text: `select t.${o.primaryKey}::text as id, t.${o.ageColumn}::text as age
             from ${o.table} t
            where ${due}
              ${past}
            order by t.${o.ageColumn}, t.${o.primaryKey}
            limit $${n + 1}`,
    values: [...o.dueParameters, limit, ...(after === undefined ? [] : [after.age, after.id])],
  };
}

/**
 * A second look at the rows that were locked before. It waits for one of them at a time, for `lockTimeout` altogether, and then
 * takes all the others that were released meanwhile: many locked rows cost no more than one.
 */
async function retryLocked(walk: Walk, step: Step, locked: readonly string[]): Promise<void> {
  const { stop, budget, progress } = walk;
  let left = locked;
  for (let patienceMs = walk.settings.lockTimeoutMs; ; ) {
    left = await takeReleased(walk, step, left);
    if (left.length > 0 && (stop.aborted || budget.isSpent())) return markStopped(progress, left.length);
    if (left.length === 0 || patienceMs <= 0) break;
    const started = performance.now();
    if (await waitFor(walk, step, left[0]!)) left = left.slice(1);
    patienceMs -= performance.now() - started;
  }
  progress.skipped += left.length;
}

/** Changes those of some rows that nobody holds any more, in batches; the keys of those that are still due. */
async function takeReleased(walk: Walk, step: Step, keys: readonly string[]): Promise<string[]> {
  const { session, settings, operation, stop, budget, pace } = walk;
  const left: string[] = [];
  for (let from = 0; from < keys.length; ) {
    if (stop.aborted || budget.isSpent()) return [...left, ...keys.slice(from)];
    const batch = keys.slice(from, from + Math.min(pace.rows, budget.left));
    from += batch.length;
    const taken = new Set(await changeKeys(walk, step, batch, 'skip locked'));
    const others = batch.filter((key) => !taken.has(key));
    // Some have gone, or are no longer due: only what is locked is left.
    left.push(
      ...(await session.transaction(settings, (client) =>
        lookAgain(client, operation, step, operation.primaryKey, others),
      )),
    );
    if (taken.size > 0) await pauseAfterBatch(walk);
  }
  return left;
}

/** Waits for one row, and changes it where it is still due; false where it stays locked for longer than `lockTimeout`. */
async function waitFor(walk: Walk, step: Step, key: string): Promise<boolean> {
  try {
    await changeKeys(walk, step, [key], 'wait');
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== lockNotAvailable) throw error;
    return false;
  }
}
