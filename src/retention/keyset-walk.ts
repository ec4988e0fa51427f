import { lockNotAvailable } from './batch.ts';
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
 * are passed over and tried once more at the end. Ends early, with `stopped` set, when `stop` is aborted. Errors of the
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

/** Each of the rows that were locked before, in a transaction of its own: waits for it up to the lock timeout. */
async function retryLocked(walk: Walk, step: Step, ids: readonly string[]): Promise<void> {
  for (const [index, id] of ids.entries()) {
    if (walk.stop.aborted || walk.budget.isSpent()) return markStopped(walk.progress, ids.length - index);
    try {
      await changeKeys(walk, step, [id], 'wait');
    } catch (error) {
      if ((error as { code?: string }).code !== lockNotAvailable) throw error;
      walk.progress.skipped += 1;
    }
  }
}
