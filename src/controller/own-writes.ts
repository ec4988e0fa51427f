import { type KubernetesObject, keyOf } from '../kubernetes/types.ts';

/**
 * What the controller wrote and its caches do not show yet, like client-go's MutationCache: without it the next
 * reconcile would do, and announce, the same again. Resource versions of a cluster are ordered (KEP-5504).
 */
export class OwnWrites {
  readonly #written = new Map<string, KubernetesObject>();
  readonly #cached: (object: KubernetesObject) => KubernetesObject | undefined;

  /** `cached` gives what the caches show of an object now. */
  constructor(cached: (object: KubernetesObject) => KubernetesObject | undefined = () => undefined) {
    this.#cached = cached;
  }

  record(object: KubernetesObject): void {
    this.#written.set(idOf(object), object);
    // The watch may be faster than the answer to the write.
    const cached = this.#cached(object);
    if (cached?.metadata.uid === object.metadata.uid) this.seen(cached!);
  }

  /** The cached object, or what was written of it if that is newer. */
  newest<T extends KubernetesObject>(cached: T): T {
    return (this.#newerThan(cached) as T | undefined) ?? cached;
  }

  /** Told of each object that the caches show: what was written of it is kept no longer than needed. */
  seen(cached: KubernetesObject): void {
    this.#newerThan(cached);
  }

  /** Told of each object that the caches show no more. */
  gone(object: KubernetesObject): void {
    const id = idOf(object);
    if (this.#written.get(id)?.metadata.uid === object.metadata.uid) this.#written.delete(id);
  }

  /** What was written of an object, if that is newer than the cached one; else it is forgotten. */
  #newerThan(cached: KubernetesObject): KubernetesObject | undefined {
    const id = idOf(cached);
    const written = this.#written.get(id);
    if (!written) return undefined;
    if (written.metadata.uid === cached.metadata.uid && versionOf(written) > versionOf(cached)) return written;
    this.#written.delete(id);
    return undefined;
  }

  /** How many objects are kept. */
  get size(): number {
    return this.#written.size;
  }
}

function idOf({ kind, metadata }: KubernetesObject): string {
  return `${kind} ${keyOf(metadata)}`;
}

function versionOf({ metadata }: KubernetesObject): bigint {
  return BigInt(metadata.resourceVersion ?? 0);
}
