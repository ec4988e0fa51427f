import { sleep } from './backoff.ts';

/** A token bucket: `perSecond` on average, `burst` at once. Who comes too early waits for its turn. */
export class RateLimiter {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #filledAt = performance.now();

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
  }

  /** Resolves when it is the caller's turn, or when `signal` aborts; never rejects. */
  async turn(signal: AbortSignal | undefined): Promise<void> {
    const now = performance.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) / 1000) * this.#perSecond);
    this.#filledAt = now;
    // Below zero are those who wait already.
    this.#tokens -= 1;
    if (this.#tokens < 0) await sleep((-this.#tokens / this.#perSecond) * 1000, signal ?? never);
  }
}

const never = new AbortController().signal;
