import { describe, expect, it, vi } from 'vitest';
import { runManager } from '../../src/kubernetes/manager.ts';
import { WorkQueue } from '../../src/kubernetes/work-queue.ts';
import { silent } from '../support/log.ts';

/** An informer that is synced when the test says so, and stops when told. */
function source(kind: string, namespace?: string) {
  const { promise: synced, resolve: fill } = Promise.withResolvers<void>();
  const { promise: tried, resolve: fail } = Promise.withResolvers<void>();
  const sync = () => {
    fill();
    fail();
  };
  const run = vi.fn(
    (signal: AbortSignal) => new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve())),
  );
  return { kind, namespace, synced, tried, sync, fail, run };
}

describe('manager', () => {
  it('reconciles only when every cache is filled', async () => {
    const stop = new AbortController();
    const queue = new WorkQueue(silent);
    const [one, two] = [source('One'), source('Two')];
    const reconcile = vi.fn(async () => undefined);
    const done = runManager({
      informers: [one, two],
      queue,
      reconcile,
      concurrency: 1,
      log: silent,
      signal: stop.signal,
    });
    queue.add('a');
    one.sync();
    await new Promise((resolve) => setImmediate(resolve));
    expect(one.run).toHaveBeenCalledOnce();
    expect(two.run).toHaveBeenCalledOnce();
    expect(reconcile).not.toHaveBeenCalled();
    two.sync();
    await vi.waitFor(() => expect(reconcile).toHaveBeenCalledWith('a'));
    stop.abort();
    await done;
  });

  it('waits for no namespace that failed, once all caches of another are filled', async () => {
    const stop = new AbortController();
    const queue = new WorkQueue(silent);
    const informers = ['a', 'b', 'c'].flatMap((namespace) => [source('One', namespace), source('Two', namespace)]);
    const [a1, a2, b1, b2, c1, c2] = informers;
    const reconcile = vi.fn(async () => undefined);
    const done = runManager({ informers, queue, reconcile, concurrency: 1, log: silent, signal: stop.signal });
    queue.add('a/x');
    const nothing = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      expect(reconcile).not.toHaveBeenCalled();
    };
    for (const each of [b1, b2, c1]) each!.fail();
    c2!.sync();
    a1!.sync();
    await nothing();
    a2!.fail();
    await nothing();
    a2!.sync();
    await vi.waitFor(() => expect(reconcile).toHaveBeenCalledWith('a/x'));
    stop.abort();
    await done;
  });

  it('stops while it waits for caches, and reconciles nothing then', async () => {
    const stop = new AbortController();
    const queue = new WorkQueue(silent);
    const reconcile = vi.fn(async () => undefined);
    queue.add('a');
    const done = runManager({
      informers: [source('One')],
      queue,
      reconcile,
      concurrency: 1,
      log: silent,
      signal: stop.signal,
    });
    stop.abort();
    await done;
    expect(reconcile).not.toHaveBeenCalled();
  });

  it('lets a reconcile in process finish before it returns', async () => {
    const stop = new AbortController();
    const queue = new WorkQueue(silent);
    const informer = source('One');
    informer.sync();
    const { promise, resolve: finish } = Promise.withResolvers<undefined>();
    const reconcile = vi.fn(() => promise);
    const ended = vi.fn();
    const done = runManager({
      informers: [informer],
      queue,
      reconcile,
      concurrency: 1,
      log: silent,
      signal: stop.signal,
    }).then(ended);
    queue.add('a');
    await vi.waitFor(() => expect(reconcile).toHaveBeenCalled());
    stop.abort();
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended).not.toHaveBeenCalled();
    finish(undefined);
    await done;
    expect(ended).toHaveBeenCalled();
  });
});
