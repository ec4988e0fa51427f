import type { Logger } from './logger.ts';
import type { Reconcile, WorkQueue } from './work-queue.ts';

/** What the manager needs of an informer, whatever its objects. */
interface Source {
  readonly kind: string;
  readonly synced: Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

export interface ManagerOptions {
  informers: Source[];
  queue: WorkQueue;
  reconcile: Reconcile;
  concurrency: number;
  /** Awaited when the caches are filled, before the first key; nothing is reconciled where it says false. */
  elected?: () => Promise<boolean>;
  log: Logger;
  signal: AbortSignal;
}

/**
 * Runs a controller: starts its informers, waits until all caches are filled and it is elected, then works the queue. When `signal`
 * aborts it takes no new key, lets the ones in process finish, and resolves. Never rejects.
 */
export async function runManager(options: ManagerOptions): Promise<void> {
  const { informers, queue, reconcile, concurrency, elected, log, signal } = options;
  const running = informers.map((informer) => informer.run(signal));
  const stopped = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await Promise.race([Promise.all(informers.map(({ synced }) => synced)), stopped]);
  if (!signal.aborted) log.info({ kinds: informers.map(({ kind }) => kind) }, 'caches are filled');
  if (!elected || (await elected())) {
    if (!signal.aborted) log.info({}, 'starting to reconcile');
    await queue.run(reconcile, { concurrency, signal });
  }
  await Promise.all(running);
  log.info({}, 'stopped');
}
