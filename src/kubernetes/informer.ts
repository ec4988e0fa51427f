import { ApiError, isNotFound } from './api-error.ts';
import { type Backoff, backoffMs, sleep } from './backoff.ts';
import { Cache } from './cache.ts';
import type { Client, Selection, WatchEvent } from './client.ts';
import type { Logger } from './logger.ts';
import { share } from './share.ts';
import { type KubernetesObject, keyOf, type ObjectRef, type Resource } from './types.ts';

/**
 * Told of each change, and at every relist of every object: `old` is undefined for a new object, `current` for a
 * deleted one. It only enqueues keys.
 */
type ChangeHandler<T> = (old: T | undefined, current: T | undefined) => void;

export interface InformerOptions<T extends KubernetesObject> extends Selection {
  client: Client;
  resource: Resource<T>;
  log: Logger;
  onChange: ChangeHandler<T>;
  /** The values under which `indexed` finds an object, such as its owner's uid. */
  indexBy?: (object: T) => string[];
  /** Everything is listed anew after this time, which repairs whatever went wrong; 10 minutes by default. */
  relistMs?: number;
  /** A watch silent for so long counts as dead; 2 minutes by default (bookmarks come every minute). */
  idleMs?: number;
  backoff?: Backoff;
  /** A watch that lived for so long before its connection was cut had been well; 10 seconds by default. */
  wellMs?: number;
  /** Told each time that a watch has to be opened again, or all listed anew, because something failed. */
  onRestart?: (kind: string) => void;
}

/** The longest wait for a kind that is missing: whoever installs its CRD should not have to wait for its controller. */
const longestMissingWaitMs = 5_000;

/**
 * A cache of a kind of object, kept by list and watch, that survives everything: whatever fails is tried again with
 * backoff, until it is stopped. A watch that ends or loses its connection goes on from its last resourceVersion;
 * after any other error, and regularly, everything is listed anew, which finds what was missed, deletions included.
 * Of a kind that the API server does not know, since its CRD is missing, there are no objects until it does.
 */
export class Informer<T extends KubernetesObject> {
  /** Resolves once the first list is in the cache and the handler was told of it; never rejects. */
  readonly synced: Promise<void>;
  /** Resolves once the first list has come or has failed; never rejects. */
  readonly tried: Promise<void>;
  /** Whether the cache holds what a list gave: not before the first one, nor while the kind is missing. */
  hasSynced = false;
  readonly #options: InformerOptions<T>;
  readonly #relistMs: number;
  readonly #idleMs: number;
  readonly #backoff: Backoff;
  readonly #cache: Cache<T>;
  readonly #markSynced: () => void;
  readonly #markTried: () => void;
  /** The one last put into the cache as something new. */
  #newest: T | undefined;
  /** Where the watch goes on; undefined when a list is needed. */
  #resourceVersion: string | undefined;
  #relistDue = 0;
  #kindIsMissing = false;
  #failures = 0;
  #lastStatus: number | undefined;
  #lastProgress = performance.now();
  #lastSuccess = performance.now();

  constructor(options: InformerOptions<T>) {
    this.#options = options;
    this.#relistMs = options.relistMs ?? 600_000;
    this.#idleMs = options.idleMs ?? 120_000;
    this.#backoff = options.backoff ?? { baseMs: 500, maxMs: 30_000 };
    this.#cache = new Cache(options.indexBy);
    ({ promise: this.synced, resolve: this.#markSynced } = Promise.withResolvers<void>());
    ({ promise: this.tried, resolve: this.#markTried } = Promise.withResolvers<void>());
  }

  /** How long nothing has happened, not even a failure, in milliseconds: more than a few minutes are a defect. */
  get silentMs(): number {
    return performance.now() - this.#lastProgress;
  }

  /** How long it is since a list came or a watch said something, in milliseconds; since the start where none ever did. */
  get sinceSuccessMs(): number {
    return performance.now() - this.#lastSuccess;
  }

  /** The HTTP status of the newest failure, 0 where there was no answer; undefined after a success. */
  get failedWith(): number | undefined {
    return this.#lastStatus;
  }

  /** How many objects have parts that were omitted. */
  get omitted(): number {
    return this.#cache.list().filter((object) => object.omitted).length;
  }

  /** Failures in a row, since the last sign of life of a watch. */
  get failures(): number {
    return this.#failures;
  }

  get kind(): string {
    return this.#options.resource.kind;
  }

  /** Undefined where it watches all namespaces. */
  get namespace(): string | undefined {
    return this.#options.namespace;
  }

  /** The object as last seen. Objects are shared: never change one. */
  get(ref: ObjectRef): T | undefined {
    return this.#cache.get(ref);
  }

  list(namespace?: string): T[] {
    return this.#cache.list(namespace);
  }

  /** The objects for which `indexBy` gave `value`. */
  indexed(value: string): T[] {
    return this.#cache.indexed(value);
  }

  /** Lists and watches until `signal` aborts. Never rejects. Call it once. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#lastProgress = performance.now();
        if (this.#resourceVersion === undefined || Date.now() >= this.#relistDue) await this.#relist(signal);
        else await this.#watch(this.#resourceVersion, signal);
      } catch (error) {
        if (!signal.aborted) await this.#recover(error, signal);
      }
    }
  }

  async #relist(signal: AbortSignal): Promise<void> {
    const { client, resource } = this.#options;
    const listed = new Set<string>();
    let version: string | undefined;
    try {
      // Page by page: with all of them beside the cache, each relist would take its memory twice.
      for await (const { items, resourceVersion } of client.pages(resource, this.#options, { signal })) {
        for (const item of items) if (this.#set(item)) listed.add(keyOf(item.metadata));
        version = resourceVersion;
      }
    } catch (error) {
      if (isNotFound(error)) this.#loseKind();
      throw error;
    }
    if (this.#kindIsMissing) this.#options.log.info({ kind: this.kind }, 'the API server knows this kind now');
    this.#kindIsMissing = false;
    this.#keepOnly(listed);
    this.#resourceVersion = version;
    // Spread over a tenth, so that informers started together do not list together for ever.
    this.#relistDue = Date.now() + this.#relistMs * (0.9 + 0.1 * Math.random());
    this.hasSynced = true;
    this.#succeeded();
    this.#markSynced();
    this.#markTried();
  }

  #succeeded(): void {
    this.#lastSuccess = performance.now();
    this.#lastStatus = undefined;
  }

  /** Objects that went with their kind, unseen, must not be worked on: the garbage collector takes away what is made for them. */
  #loseKind(): void {
    this.#keepOnly(new Set());
    this.hasSynced = false;
    if (this.#kindIsMissing) return;
    this.#kindIsMissing = true;
    const words =
      'the API server does not know this kind: is its CustomResourceDefinition installed? Looking on for it';
    this.#options.log.warn({ kind: this.kind }, words);
  }

  #keepOnly(kept: Set<string>): void {
    for (const old of this.#cache.list()) {
      if (!kept.has(keyOf(old.metadata))) this.#tell(this.#cache.delete(old.metadata), undefined);
    }
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const { client, resource, namespace, labelSelector, fieldSelector, wellMs = 10_000 } = this.#options;
    const opened = Date.now();
    const durationMs = this.#relistDue - opened;
    const selection = { namespace, labelSelector, fieldSelector, resourceVersion, durationMs, idleMs: this.#idleMs };
    let events = 0;
    try {
      for await (const event of client.watch(resource, selection, signal)) {
        this.#receive(event);
        this.#succeeded();
        this.#failures = 0;
        events += 1;
      }
    } catch (error) {
      // Proxies cut what is quiet for less than the minute between two bookmarks.
      const cut = error instanceof ApiError && error.reason === 'ConnectionLost';
      if (cut && Date.now() - opened >= wellMs) {
        this.#succeeded();
        this.#failures = 0;
      }
      throw error;
    }
    if (events === 0 && Date.now() - opened < Math.min(1000, durationMs)) {
      throw new Error('the watch ended as soon as it began');
    }
    this.#succeeded();
    this.#failures = 0;
  }

  #receive(event: WatchEvent<T>): void {
    this.#lastProgress = performance.now();
    this.#resourceVersion = event.object.metadata.resourceVersion;
    if (event.type === 'DELETED') this.#tell(this.#cache.delete(event.object.metadata), undefined);
    else if (event.type !== 'BOOKMARK') this.#set(event.object);
  }

  /** Puts an object into the cache, and says whether it could: one that cannot be must not keep all others from being seen. */
  #set(object: T): boolean {
    try {
      this.#keep(object);
      return true;
    } catch (err) {
      const { name, namespace } = object?.metadata ?? {};
      this.#options.log.error({ kind: this.kind, namespace, name, err }, 'an object cannot be kept and is passed over');
      return false;
    }
  }

  /** What an object has in common with its former self, or the newest of its kind, is in memory once. */
  #keep(object: T): void {
    if (!object.metadata.name) throw new Error('it has no name');
    const old = this.#cache.get(object.metadata);
    let current = share(old, object);
    if (current.omitted && current.omitted !== old?.omitted) {
      const { name, namespace } = current.metadata;
      const { omitted } = current;
      this.#options.log.warn({ kind: this.kind, namespace, name, omitted }, 'parts of an object are not kept');
    }
    if (current !== old) current = this.#newest = share(this.#newest, current);
    this.#tell(this.#cache.set(current), current);
  }

  #tell(old: T | undefined, current: T | undefined): void {
    try {
      if (old || current) this.#options.onChange(old, current);
    } catch (error) {
      const { name, namespace } = (current ?? old)!.metadata;
      this.#options.log.error({ kind: this.kind, namespace, name, err: error }, 'the change handler failed');
    }
  }

  /** Decides between going on and listing anew, and waits. */
  async #recover(error: unknown, signal: AbortSignal): Promise<void> {
    const { log, onRestart } = this.#options;
    this.#lastProgress = performance.now();
    onRestart?.(this.kind);
    const { status, reason, retryAfterSeconds = 0 } = error instanceof ApiError ? error : { status: 0, reason: '' };
    const connectionLost = status === 0 && reason !== 'InvalidResponse';
    if (!connectionLost) this.#resourceVersion = undefined;
    this.#failures += 1;
    this.#lastStatus = status;
    this.#markTried();
    // A watch too old to go on is an everyday thing: the first is answered at once.
    const expired = status === 410 && this.#failures === 1;
    const { baseMs, maxMs } = this.#backoff;
    const longestMs = this.#kindIsMissing ? Math.min(maxMs, longestMissingWaitMs) : maxMs;
    const backingOffMs = jitter(backoffMs(this.#failures, { baseMs, maxMs: longestMs }));
    const waitMs = expired ? 0 : Math.max(backingOffMs, Math.min(retryAfterSeconds, 60) * 1000);
    const { kind, namespace } = this;
    const details = { kind, namespace, status, reason, error: String(error), failures: this.#failures, waitMs };
    // One lost connection is an everyday thing too, when an API server restarts; of a missing kind the list has words of its own.
    if (this.#failures > 1 && status !== 404) log.warn(details, 'list and watch failed, will be retried');
    else log.debug(details, 'list and watch interrupted');
    await sleep(waitMs, signal);
  }
}

/** Between half of it and all of it, so that many clients do not come back together. */
function jitter(ms: number): number {
  return Math.round(ms * (0.5 + 0.5 * Math.random()));
}
