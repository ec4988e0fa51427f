import type { Informer } from './informer.ts';
import type { KubernetesObject, ObjectRef } from './types.ts';

/** The informers of one kind, one for each namespace, read as one. */
export class MergedInformers<T extends KubernetesObject> {
  readonly #informers: Informer<T>[];

  constructor(informers: Informer<T>[]) {
    this.#informers = informers;
  }
  get(ref: ObjectRef): T | undefined {
    return this.#informers.map((informer) => informer.get(ref)).find((found) => found !== undefined);
  }
  list(namespace?: string): T[] {
    return this.#informers.flatMap((informer) => informer.list(namespace));
  }
  indexed(value: string): T[] {
    return this.#informers.flatMap((informer) => informer.indexed(value));
  }
}
