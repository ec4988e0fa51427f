import { RowsRefused } from './bad-rows.ts';
import { changeDirectly, lockAndChange, lockNotAvailable, rowsInBlocks } from './batch.ts';
import { changeKeys } from './change-keys.ts';
import type { TableSize } from './choose-walk.ts';
import type { Step } from './operation.ts';
import { markStopped, pauseAfterBatch, recordBatch, type Walk } from './walk.ts';
import { KeysNeeded } from './written.ts';

/**
 * How long a statement that changes rows without having locked them first waits for one that somebody else holds,
 * before its blocks are done by the way that passes over locked rows.
 */
const patienceMs = 50;

/** Rolls back a statement that changed more rows than may be: locking them first tells how many there are. */
class TooManyRows extends Error {}

/**
 * Changes due rows in the order in which they lie in the table: the blocks of a batch are read from disk once, whatever
 * the order of keys, and no index is needed. For a backlog. Rows that others hold locked are left, and so are rows that
 * move while it goes on; a walk along the keyset finds them. Ends early, with `stopped` set, when `stop` is aborted.
 */
export async function walkBlocks(walk: Walk, { blocks, rowsPerBlock }: TableSize): Promise<void> {
  const { progress, stop, operation, pace, budget } = walk;
  let byKey = false;
  for (let from = 0; from < blocks; ) {
    const to = from + Math.max(1, Math.floor(pace.rows / rowsPerBlock));
    const started = performance.now();
    for (const step of operation.steps) {
      if (stop.aborted || budget.exceeded) return markStopped(progress, 0);
      byKey = (await changeBlocks(walk, step, from, to, byKey)) === 'by key';
    }
    pace.took(performance.now() - started);
    from = to;
    await pauseAfterBatch(walk);
  }
  if (budget.exceeded) markStopped(progress, 0);
}

/**
 * One step for the rows in some blocks, in a transaction of its own; by key, and in more, where one of them is bad or where what
 * was written must be looked at. Says how the next ones are to be changed.
 */
async function changeBlocks(
  walk: Walk,
  step: Step,
  from: number,
  to: number,
  byKey: boolean,
): Promise<'at once' | 'by key'> {
  const { budget } = walk;
  let next: 'at once' | 'by key' = byKey ? 'by key' : 'at once';
  if (!byKey) {
    try {
      recordBatch(walk, { [step.action]: await changeAtOnce(walk, step, from, to) });
      return next;
    } catch (error) {
      if (!(error instanceof RowsRefused)) throw error;
      if (error instanceof KeysNeeded) next = 'by key';
    }
  }
  const keys = await keysInBlocks(walk, step, from, to);
  budget.exceeded ||= keys.length > budget.left;
  await changeKeys(walk, step, keys.slice(0, budget.left), 'skip locked');
  return next;
}

async function changeAtOnce(walk: Walk, step: Step, from: number, to: number): Promise<number> {
  const { session, settings, operation, budget } = walk;
  const rows = rowsInBlocks(from, to);
  const locking = async () => {
    const { due, changed } = await session.transaction(settings, (client) =>
      lockAndChange(client, operation, step, rows, 'ctid', 'skip locked', budget.left),
    );
    budget.exceeded ||= due > budget.left;
    return changed;
  };
  if (step.lockFirst) return locking();
  const lockTimeoutMs = Math.min(settings.lockTimeoutMs, patienceMs);
  try {
    return await session.transaction({ ...settings, lockTimeoutMs }, async (client) => {
      const changed = await changeDirectly(client, operation, step, rows);
      if (changed > budget.left) throw new TooManyRows();
      return changed;
    });
  } catch (error) {
    if (error instanceof TooManyRows) return locking();
    if ((error as { code?: string }).code !== lockNotAvailable) throw error;
    return locking();
  }
}

function keysInBlocks({ session, settings, operation }: Walk, step: Step, from: number, to: number): Promise<string[]> {
  const rows = rowsInBlocks(from, to);
  return session.transaction(settings, async (client) => {
    const found = await client.query<{ key: string }>(
      `select t.${operation.primaryKey}::text as key
         from ${operation.table} t
        where ${rows.where(operation.dueParameters.length + 1)}
          and ${step.due}`,
      [...operation.dueParameters, ...rows.parameters],
    );
    return found.rows.map((row) => row.key);
  });
}
