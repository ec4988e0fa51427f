import type { Logger } from './logger.ts';
import type { Reconcile, WorkQueue } from './work-queue.ts';

/** What the manager needs of an informer, whatever its objects. */
interface Source {
  readonly kind: string;
  /** Undefined where it watches all namespaces. */
  readonly namespace?: string;
  /** Resolves when its cache is filled. */
  readonly synced: Promise<void>;
  /** Resolves when its cache is filled, or could not be at the first attempt. */
  readonly tried: Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

export interface ManagerOptions {
  informers: Source[];
  queue: WorkQueue;
  /** Must itself leave alone what is in a namespace whose caches are not filled. */
  reconcile: Reconcile;
  concurrency: number;
  /** Awaited when the caches are filled, before the first key; nothing is reconciled where it says false. */
  elected?: () => Promise<boolean>;
  log: Logger;
  signal: AbortSignal;
}

/**
 * Runs a controller: starts its informers, waits until the caches are filled and it is elected, then works the queue. Of several
 * namespaces those whose caches cannot be filled are not waited for, as long as there is one other. When `signal` aborts it takes
 * no new key, lets the ones in process finish, and resolves. Never rejects.
 */
export async function runManager(options: ManagerOptions): Promise<void> {
  const { informers, queue, reconcile, concurrency, elected, log, signal } = options;
  const running = informers.map((informer) => informer.run(signal));
  const stopped = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await Promise.race([filled(informers), stopped]);
  if (!signal.aborted) log.info({ kinds: informers.map(({ kind }) => kind) }, 'caches are filled');
  if (!elected || (await elected())) {
    if (!signal.aborted) log.info({}, 'starting to reconcile');
    await queue.run(reconcile, { concurrency, signal });
  }
  await Promise.all(running);
  log.info({}, 'stopped');
}

async function filled(informers: Source[]): Promise<void> {
  const namespaces = Map.groupBy(informers, ({ namespace }) => namespace);
  await Promise.any([...namespaces.values()].map((sources) => Promise.all(sources.map(({ synced }) => synced))));
  await Promise.all(informers.map(({ tried }) => tried));
}
