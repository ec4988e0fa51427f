import { RowsRefused } from './bad-rows.ts';
import { lockAndChange } from './batch.ts';
import { rowsByKey, type Step } from './operation.ts';
import { recordBatch, type Walk } from './walk.ts';

/**
 * One step for some rows, in a transaction of its own: locked, looked at again, changed. Where a row is the reason that this
 * fails, in two halves, and so on until such rows are alone: they are left, and counted as failed. Returns the keys that
 * were dealt with; the others are locked by somebody else.
 */
export async function changeKeys(
  walk: Walk,
  step: Step,
  keys: readonly string[],
  others: 'skip locked' | 'wait',
): Promise<string[]> {
  const { session, settings, operation, progress } = walk;
  const wanted = keys.filter((key) => !progress.failures.has(key));
  const failed = keys.filter((key) => progress.failures.has(key));
  if (wanted.length === 0 || walk.stop.aborted) return failed;
  try {
    const taken = await session.transaction(settings, (client) =>
      lockAndChange(client, operation, step, rowsByKey(operation.primaryKey, wanted), operation.primaryKey, others),
    );
    recordBatch(walk, { [step.action]: taken.changed });
    return [...failed, ...taken.keys];
  } catch (error) {
    if (!(error instanceof RowsRefused)) throw error;
    const [only] = wanted;
    if (wanted.length === 1) {
      progress.failures.add(only!, error.message);
      return keys.slice();
    }
    const half = Math.ceil(wanted.length / 2);
    return [
      ...failed,
      ...(await changeKeys(walk, step, wanted.slice(0, half), others)),
      ...(await changeKeys(walk, step, wanted.slice(half), others)),
    ];
  }
}
