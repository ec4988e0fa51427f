export interface Backoff {
  baseMs: number;
  maxMs: number;
}

/** The wait after the n-th failure in a row (n ≥ 1): doubles from `baseMs`, never above `maxMs`. */
export function backoffMs(failures: number, { baseMs, maxMs }: Backoff): number {
  return Math.min(baseMs * 2 ** (failures - 1), maxMs);
}

/** Resolves after `ms`, or as soon as `signal` aborts; never rejects. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
