import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { RateLimiter } from '../../src/kubernetes/rate-limiter.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('lets a burst through at once, and the rest at its rate, in the order they came', async () => {
  const limiter = new RateLimiter(10, 3);
  const times: number[][] = [];
  const started = performance.now();
  for (let turn = 0; turn < 6; turn++) {
    void limiter.turn(undefined).then(() => times.push([turn, performance.now() - started]));
  }
  await vi.advanceTimersByTimeAsync(1_000);
  expect(times).toEqual([
    [0, 0],
    [1, 0],
    [2, 0],
    [3, 100],
    [4, 200],
    [5, 300],
  ]);
  await vi.advanceTimersByTimeAsync(10_000);
  times.length = 0;
  for (let turn = 0; turn < 4; turn++) void limiter.turn(undefined).then(() => times.push([turn]));
  await vi.advanceTimersByTimeAsync(0);
  expect(times).toEqual([[0], [1], [2]]);
});

it('lets nobody wait any longer whose signal aborts', async () => {
  const limiter = new RateLimiter(0.001, 0);
  const stop = new AbortController();
  const turn = limiter.turn(stop.signal);
  stop.abort();
  await turn;
});
