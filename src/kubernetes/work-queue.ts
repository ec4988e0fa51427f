import { type Backoff, backoffMs } from './backoff.ts';
import type { Logger } from './logger.ts';

/** What a reconcile may ask for: to be called again, at the latest after this many milliseconds. */
export interface ReconcileResult {
  requeueAfterMs?: number;
}

export type Reconcile = (key: string) => Promise<ReconcileResult | undefined>;

/** What a queue tells of each key it has processed; times in milliseconds. */
export interface QueueObserver {
  /** `waitedMs` from when the key was ready until a worker took it. */
  processed(outcome: { ok: boolean; waitedMs: number; tookMs: number }): void;
}

// client-go's base; its cap of 1,000 s is too long for someone who waits for a repaired cluster.
const defaultBackoff: Backoff = { baseMs: 5, maxMs: 300_000 };
// The longest that setTimeout knows: beyond it, it fires at once.
const maxTimerMs = 2 ** 31 - 1;

/**
 * A work queue of keys with client-go's semantics: a key waits once however often it is added, is never processed
 * twice at a time, and is processed again when it was added meanwhile.
 */
export class WorkQueue {
  /** To be processed; those in process too that were added meanwhile. */
  readonly #dirty = new Set<string>();
  /** In process, and since when. */
  readonly #processing = new Map<string, number>();
  /** Dirty and not in process, in the order they came, and since when. */
  readonly #ready = new Map<string, number>();
  readonly #timers = new Map<string, { due: number; timer: NodeJS.Timeout }>();
  readonly #failures = new Map<string, number>();
  readonly #backoff: Backoff;
  readonly #log: Logger;
  readonly #observer: QueueObserver | undefined;
  #wake: (() => void)[] = [];
  #running = false;
  #stopped = false;

  constructor(log: Logger, backoff: Backoff = defaultBackoff, observer?: QueueObserver) {
    this.#log = log;
    this.#backoff = backoff;
    this.#observer = observer;
  }

  /** How many keys are ready; none while nobody works the queue. */
  get depth(): number {
    return this.#running ? this.#ready.size : 0;
  }

  /** How many keys could not be reconciled when they were last tried; none while nobody works the queue. */
  get failing(): number {
    return this.#running && !this.#stopped ? this.#failures.size : 0;
  }

  /** The longest that a key has been in process until now, in milliseconds; 0 with none. */
  get longestRunningMs(): number {
    const now = performance.now();
    return Math.max(0, ...[...this.#processing.values()].map((since) => now - since));
  }

  add(key: string): void {
    if (this.#stopped || this.#dirty.has(key)) return;
    this.#dirty.add(key);
    if (!this.#processing.has(key)) this.#makeReady(key);
  }

  /** Adds the key after `ms`; of several such calls the earliest due time wins. */
  addAfter(key: string, ms: number): void {
    if (this.#stopped) return;
    const wait = Math.min(Math.max(ms, 0), maxTimerMs);
    const due = Date.now() + wait;
    const pending = this.#timers.get(key);
    if (pending && pending.due <= due) return;
    clearTimeout(pending?.timer);
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, wait);
    this.#timers.set(key, { due, timer });
  }

  /** Adds the key after a wait that doubles with each call since the last `forget`. */
  addRateLimited(key: string): void {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    // Half of it at least: keys that failed together do not all come back together.
    this.addAfter(key, backoffMs(failures, this.#backoff) * (0.5 + 0.5 * Math.random()));
  }

  /** Ends the key's run of failures. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /**
   * Processes keys, `concurrency` at a time, until `signal` aborts; resolves when those in process are done. Keys
   * that still wait are dropped: whoever starts again lists everything. A reconcile that throws is logged and
   * retried with backoff. Never rejects.
   */
  async run(
    reconcile: Reconcile,
    { concurrency, signal }: { concurrency: number; signal: AbortSignal },
  ): Promise<void> {
    this.#running = true;
    // Those that came while another controller led have not waited for a worker.
    for (const key of this.#ready.keys()) this.#ready.set(key, performance.now());
    const stop = () => this.#stop();
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    await Promise.all(Array.from({ length: concurrency }, () => this.#work(reconcile)));
  }

  async #work(reconcile: Reconcile): Promise<void> {
    for (;;) {
      const taken = await this.#take();
      if (taken === undefined) return;
      const { key, waitedMs } = taken;
      let ok = false;
      try {
        const result = await reconcile(key);
        this.forget(key);
        ok = true;
        if (result?.requeueAfterMs !== undefined) this.addAfter(key, result.requeueAfterMs);
      } catch (error) {
        this.#log.error({ key, err: error }, 'reconcile failed, will be retried');
        this.addRateLimited(key);
      } finally {
        this.#observer?.processed({ ok, waitedMs, tookMs: performance.now() - this.#processing.get(key)! });
        this.#processing.delete(key);
        if (this.#dirty.has(key)) this.#makeReady(key);
      }
      // A reconcile that finds nothing to do waits for nothing: thousands of them would keep everything else waiting,
      // watches, probes and the Lease.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** The next ready key, now in process, and how long it was ready; undefined when the queue has stopped. */
  async #take(): Promise<{ key: string; waitedMs: number } | undefined> {
    while (!this.#stopped) {
      const [first] = this.#ready;
      if (first !== undefined) {
        const [key, since] = first;
        const now = performance.now();
        this.#ready.delete(key);
        this.#dirty.delete(key);
        this.#processing.set(key, now);
        return { key, waitedMs: now - since };
      }
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    return undefined;
  }

  #makeReady(key: string): void {
    if (this.#stopped) return;
    this.#ready.set(key, performance.now());
    this.#wake.shift()?.();
  }

  #stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#ready.clear();
    this.#dirty.clear();
    for (const wake of this.#wake.splice(0)) wake();
  }
}
