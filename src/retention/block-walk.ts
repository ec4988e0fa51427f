import { changeLockedRows, changeRows, lockRows, rowsInBlocks } from './batch.ts';
import type { TableSize } from './choose-walk.ts';
import type { Step } from './operation.ts';
import { markStopped, pauseAfterBatch, recordBatch, type Walk } from './walk.ts';

/**
 * How long a statement that changes rows without having locked them first waits for one that somebody else holds,
 * before its blocks are done by the way that passes over locked rows.
 */
const patienceMs = 50;
const lockNotAvailable = '55P03';

/** Rolls back a statement that changed more rows than may be: locking them first tells how many there are. */
class TooManyRows extends Error {}

/**
 * Changes due rows in the order in which they lie in the table: the blocks of a batch are read from disk once, whatever
 * the order of keys, and no index is needed. For a backlog. Rows that others hold locked are left, and so are rows that
 * move while it goes on; a walk along the keyset finds them. Ends early, with `stopped` set, when `stop` is aborted.
 */
export async function walkBlocks(walk: Walk, { blocks, rowsPerBlock }: TableSize): Promise<void> {
  const { progress, stop, operation, pace, budget } = walk;
  for (let from = 0; from < blocks; ) {
    const to = from + Math.max(1, Math.floor(pace.rows / rowsPerBlock));
    const started = performance.now();
    for (const step of operation.steps) {
      if (stop.aborted || budget.exceeded) return markStopped(progress, 0);
      recordBatch(walk, { [step.action]: await changeBlocks(walk, step, from, to) });
    }
    pace.took(performance.now() - started);
    from = to;
    await pauseAfterBatch(walk);
  }
  if (budget.exceeded) markStopped(progress, 0);
}

/** One step for the rows in some blocks, in a transaction of its own; how many rows it changed. */
async function changeBlocks(walk: Walk, step: Step, from: number, to: number): Promise<number> {
  const { session, settings, operation, budget } = walk;
  const rows = rowsInBlocks(from, to);
  const locking = async () => {
    const { found, changed } = await session.transaction(settings, async (client) => {
      const places = await lockRows(client, operation, step, rows, 'ctid', 'skip locked');
      const taken = places.slice(0, budget.left);
      return { found: places.length, changed: await changeLockedRows(client, operation, step, 'ctid', taken) };
    });
    budget.exceeded ||= found > budget.left;
    return changed;
  };
  if (step.lockFirst) return locking();
  const lockTimeoutMs = Math.min(settings.lockTimeoutMs, patienceMs);
  try {
    return await session.transaction({ ...settings, lockTimeoutMs }, async (client) => {
      const changed = await changeRows(client, operation, step, rows);
      if (changed > budget.left) throw new TooManyRows();
      return changed;
    });
  } catch (error) {
    if (error instanceof TooManyRows) return locking();
    if ((error as { code?: string }).code !== lockNotAvailable) throw error;
    return locking();
  }
}
