import { type KubernetesObject, keyOf } from '../kubernetes/types.ts';

/**
 * What the controller wrote and its caches do not show yet, like client-go's MutationCache: without it the next
 * reconcile would do, and announce, the same again. Resource versions of a cluster are ordered (KEP-5504).
 */
export class OwnWrites {
  readonly #written = new Map<string, KubernetesObject>();

  record(object: KubernetesObject): void {
    this.#written.set(idOf(object), object);
  }

  /** The cached object, or what was written of it if that is newer. */
  newest<T extends KubernetesObject>(cached: T): T {
    const id = idOf(cached);
    const written = this.#written.get(id);
    if (!written) return cached;
    if (written.metadata.uid === cached.metadata.uid && versionOf(written) > versionOf(cached)) return written as T;
    this.#written.delete(id);
    return cached;
  }
}

function idOf({ kind, metadata }: KubernetesObject): string {
  return `${kind} ${keyOf(metadata)}`;
}

function versionOf({ metadata }: KubernetesObject): bigint {
  return BigInt(metadata.resourceVersion ?? 0);
}
