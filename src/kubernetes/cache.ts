import { type KubernetesObject, keyOf, type ObjectRef } from './types.ts';

/** Objects by namespace and name, with at most one index. They are shared: never change one. */
export class Cache<T extends KubernetesObject> {
  #objects = new Map<string, T>();
  readonly #indexed = new Map<string, Map<string, T>>();
  readonly #indexBy: (object: T) => string[];

  /** `indexBy` gives the values under which `indexed` finds an object. */
  constructor(indexBy: (object: T) => string[] = () => []) {
    this.#indexBy = indexBy;
  }

  get(ref: ObjectRef): T | undefined {
    return this.#objects.get(keyOf(ref));
  }

  list(namespace?: string): T[] {
    const all = [...this.#objects.values()];
    return namespace === undefined ? all : all.filter(({ metadata }) => metadata.namespace === namespace);
  }

  /** The objects for which `indexBy` gave `value`. */
  indexed(value: string): T[] {
    return [...(this.#indexed.get(value)?.values() ?? [])];
  }

  /** Puts an object in, and returns the one it replaces. */
  set(object: T): T | undefined {
    const old = this.delete(object.metadata);
    const key = keyOf(object.metadata);
    this.#objects.set(key, object);
    for (const value of this.#indexBy(object)) {
      const entries = this.#indexed.get(value) ?? new Map<string, T>();
      this.#indexed.set(value, entries.set(key, object));
    }
    return old;
  }

  /** Takes an object out, and returns it. */
  delete(ref: ObjectRef): T | undefined {
    const key = keyOf(ref);
    const old = this.#objects.get(key);
    if (!old) return undefined;
    this.#objects.delete(key);
    for (const value of this.#indexBy(old)) {
      const entries = this.#indexed.get(value);
      entries?.delete(key);
      if (entries?.size === 0) this.#indexed.delete(value);
    }
    return old;
  }
}
