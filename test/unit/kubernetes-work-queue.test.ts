import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ReconcileResult } from '../../src/kubernetes/work-queue.ts';
import { WorkQueue } from '../../src/kubernetes/work-queue.ts';
import { silent } from '../support/log.ts';

/** A reconcile whose calls end when the test says so. */
function controlled() {
  const calls: { key: string; finish: (result?: ReconcileResult) => void; fail: (error: Error) => void }[] = [];
  const reconcile = (key: string) =>
    new Promise<ReconcileResult | undefined>((resolve, reject) => {
      calls.push({ key, finish: resolve, fail: reject });
    });
  return { calls, reconcile, keys: () => calls.map(({ key }) => key) };
}

const settle = () => vi.advanceTimersByTimeAsync(0);

describe('work queue', () => {
  let stop: AbortController;
  let queue: WorkQueue;
  beforeEach(() => {
    vi.useFakeTimers();
    stop = new AbortController();
    queue = new WorkQueue(silent);
  });
  afterEach(() => {
    stop.abort();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
  const run = (reconcile: (key: string) => Promise<ReconcileResult | undefined>, concurrency = 1) =>
    queue.run(reconcile, { concurrency, signal: stop.signal });

  it('processes a key once however often it was added', async () => {
    const { reconcile, keys, calls } = controlled();
    for (const key of ['a', 'b', 'a', 'a']) queue.add(key);
    void run(reconcile);
    await settle();
    calls[0]?.finish();
    await settle();
    calls[1]?.finish();
    await settle();
    expect(keys()).toEqual(['a', 'b']);
  });

  it('processes a key that was added meanwhile once more, and never twice at a time', async () => {
    const { reconcile, keys, calls } = controlled();
    void run(reconcile, 4);
    queue.add('a');
    await settle();
    queue.add('a');
    queue.add('a');
    await settle();
    expect(keys()).toEqual(['a']);
    calls[0]?.finish();
    await settle();
    expect(keys()).toEqual(['a', 'a']);
    calls[1]?.finish();
    await settle();
    expect(keys()).toEqual(['a', 'a']);
  });

  it('processes at most `concurrency` keys at a time', async () => {
    const { reconcile, keys, calls } = controlled();
    void run(reconcile, 2);
    for (const key of ['a', 'b', 'c']) queue.add(key);
    await settle();
    expect(keys()).toEqual(['a', 'b']);
    calls[1]?.finish();
    await settle();
    expect(keys()).toEqual(['a', 'b', 'c']);
  });

  it('retries a failing key after 5, 10, 20 … ms up to 5 minutes, and starts again after a success', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(1);
    const times: number[] = [];
    let failing = true;
    const reconcile = async () => {
      times.push(Date.now());
      if (failing) throw new Error('not yet');
      return undefined;
    };
    void run(reconcile);
    queue.add('a');
    await vi.advanceTimersByTimeAsync(3_600_000);
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(waits.slice(0, 4)).toEqual([5, 10, 20, 40]);
    expect(waits.at(-1)).toBe(300_000);
    failing = false;
    await vi.advanceTimersByTimeAsync(300_000);
    failing = true;
    times.length = 0;
    queue.add('a');
    await vi.advanceTimersByTimeAsync(5);
    expect(times).toHaveLength(2);
  });

  it('brings keys that failed together back one by one, after half of the wait at least', async () => {
    const times: number[] = [];
    void run(async () => {
      times.push(Date.now());
      throw new Error('not yet');
    }, 50);
    const started = Date.now();
    for (let key = 0; key < 50; key++) queue.add(`key ${key}`);
    await vi.advanceTimersByTimeAsync(0);
    for (let round = 0; round < 6; round++) await vi.advanceTimersByTimeAsync(5 * 2 ** round);
    const late = times.map((time) => time - started).filter((ms) => ms > 100);
    expect(new Set(late).size).toBeGreaterThan(5);
    expect(Math.min(...times.slice(50)) - started).toBeGreaterThanOrEqual(2);
  });

  it('tells of each key how long it was ready and in process, and how that went', async () => {
    const outcomes: unknown[] = [];
    queue = new WorkQueue(silent, undefined, { processed: (outcome) => void outcomes.push(outcome) });
    const { reconcile, calls } = controlled();
    queue.add('a');
    queue.add('b');
    await vi.advanceTimersByTimeAsync(1_000);
    expect(queue.depth).toBe(0);
    void run(reconcile);
    await vi.advanceTimersByTimeAsync(30);
    expect(queue).toMatchObject({ depth: 1, longestRunningMs: 30 });
    calls[0]?.finish();
    await vi.advanceTimersByTimeAsync(40);
    calls[1]?.fail(new Error('no'));
    await settle();
    expect(outcomes).toEqual([
      { ok: true, waitedMs: 0, tookMs: 30 },
      { ok: false, waitedMs: 30, tookMs: 40 },
    ]);
  });

  it('lets the earliest of several due times win, whatever their order', async () => {
    const { reconcile, calls } = controlled();
    void run(reconcile);
    queue.addAfter('a', 1000);
    queue.addAfter('a', 300);
    queue.addAfter('a', 2000);
    await vi.advanceTimersByTimeAsync(299);
    expect(calls).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(calls).toHaveLength(1);
    calls[0]?.finish();
    await vi.advanceTimersByTimeAsync(5000);
    expect(calls).toHaveLength(1);
  });

  it('calls again after requeueAfterMs, even when that is longer than a timer can be', async () => {
    const day = 86_400_000;
    const reconcile = vi.fn(async () => ({ requeueAfterMs: 40 * day }));
    void run(reconcile);
    queue.add('a');
    await vi.advanceTimersByTimeAsync(10 * day);
    expect(reconcile).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(15 * day);
    expect(reconcile).toHaveBeenCalledTimes(2);
  });

  it('survives a reconcile that throws before it returns a promise', async () => {
    const keys: string[] = [];
    void run((key) => {
      keys.push(key);
      throw new Error('at once');
    });
    queue.add('a');
    await vi.advanceTimersByTimeAsync(5);
    expect(keys).toEqual(['a', 'a']);
  });

  it('lets others work between reconciles that wait for nothing', async () => {
    vi.useRealTimers();
    let reconciled = 0;
    void run(async () => {
      reconciled += 1;
      return undefined;
    });
    for (let i = 0; i < 1000; i++) queue.add(String(i));
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(reconciled).toBeLessThan(1000);
    await vi.waitFor(() => expect(reconciled).toBe(1000));
  });

  it('on stop finishes what is in process, takes nothing new and leaves no timer', async () => {
    const { reconcile, keys, calls } = controlled();
    const done = vi.fn();
    void run(reconcile).then(done);
    queue.add('a');
    queue.add('b');
    queue.addAfter('c', 1000);
    await settle();
    stop.abort();
    queue.add('d');
    await settle();
    expect(done).not.toHaveBeenCalled();
    calls[0]?.fail(new Error('while stopping'));
    await settle();
    expect(done).toHaveBeenCalled();
    expect(keys()).toEqual(['a']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('ends at once when it is stopped before it starts', async () => {
    queue.add('a');
    stop.abort();
    const reconcile = vi.fn(async () => undefined);
    await run(reconcile);
    expect(reconcile).not.toHaveBeenCalled();
  });
});
