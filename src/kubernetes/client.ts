import { ApiError, errorFromStatus, noAnswer } from './api-error.ts';
import { bounded, type Kept } from './bounded.ts';
import type { Connection } from './connection.ts';
import { Http, type HttpRequest } from './http.ts';
import type { RateLimiter } from './rate-limiter.ts';
import type { KubernetesObject, ObjectRef, Resource } from './types.ts';

export interface RequestOptions {
  /** For the whole request, of a list for its longest silence; 30 s by default. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Which objects a list or a watch is about; no `namespace` means all of them. */
export interface Selection {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
}

export interface ObjectList<T> {
  items: T[];
  resourceVersion: string;
}

export type WatchEvent<T> =
  | { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: T }
  /** Only says how far the watch has come. */
  | { type: 'BOOKMARK'; object: { metadata: { resourceVersion: string } } };

type DeepPartial<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { [Key in keyof T]?: DeepPartial<T[Key]> }
    : T;

/** What a server-side apply states: some fields of an object, and its name. */
export type ApplyConfiguration<T> = DeepPartial<Omit<T, 'metadata'>> & {
  metadata: DeepPartial<KubernetesObject['metadata']> & { name: string };
};

export interface ClientOptions {
  /** Aborts the requests that bring none of their own. */
  signal?: AbortSignal;
  /** What of their metadata is kept of all objects that are read; everything without it. */
  kept?: Kept;
  /** Every request but a watch waits for its turn. */
  limiter?: RateLimiter;
  /** Told of each answer to a write: 200 for all that succeed, else the HTTP status, 0 where there was no answer. */
  onWrite?: (verb: WriteVerb, kind: string, status: number) => void;
}

/** As the API server's own rights name them. */
export type WriteVerb = 'create' | 'patch' | 'delete';

const defaultTimeoutMs = 30_000;
const pageSize = 500;

/**
 * A thin client on the API server's own JSON: nothing is converted, timestamps stay strings. Every failure is an
 * `ApiError`; no request lasts longer than its time-out. Of every object that it returns the parts are bounded: see `bounded`.
 */
export class Client {
  readonly #http: Http;
  readonly #options: ClientOptions;

  constructor(connection: Connection, options: ClientOptions = {}) {
    this.#http = new Http(connection);
    this.#options = options;
  }

  get<T extends KubernetesObject>(resource: Resource<T>, ref: ObjectRef, options?: RequestOptions): Promise<T> {
    return this.#object({ method: 'GET', path: pathOf(resource, ref) }, options);
  }

  /** The field managers that have written more than the status of an object, newest first; also those that `get` drops. */
  async writers(resource: Resource, ref: ObjectRef, options?: RequestOptions): Promise<string[]> {
    const object = (await this.#json({ method: 'GET', path: pathOf(resource, ref) }, options)) as KubernetesObject;
    return (object.metadata.managedFields ?? [])
      .filter(({ subresource }) => subresource === undefined)
      .sort((a, b) => Date.parse(b.time ?? '') - Date.parse(a.time ?? ''))
      .flatMap(({ manager }) => manager ?? []);
  }

  /** All objects of a selection. */
  async list<T extends KubernetesObject>(
    resource: Resource<T>,
    selection: Selection = {},
    options?: RequestOptions,
  ): Promise<ObjectList<T>> {
    const items: T[] = [];
    let resourceVersion = '';
    for await (const page of this.pages(resource, selection, options)) {
      items.push(...page.items);
      resourceVersion = page.resourceVersion;
    }
    return { items, resourceVersion };
  }

  /** All objects of a selection, in pages of 500. The pages are one consistent snapshot. */
  async *pages<T extends KubernetesObject>(
    resource: Resource<T>,
    selection: Selection = {},
    options?: RequestOptions,
  ): AsyncGenerator<ObjectList<T>, void> {
    const path = pathOf(resource, selection);
    const { labelSelector, fieldSelector } = selection;
    const { timeoutMs: idleMs = defaultTimeoutMs, signal = this.#options.signal } = options ?? {};
    let next: string | undefined;
    do {
      const query = { labelSelector, fieldSelector, limit: String(pageSize), continue: next };
      const items: T[] = [];
      await this.#options.limiter?.turn(signal);
      const page = (await this.#http.list({ method: 'GET', path, query }, { idleMs, signal }, (item) => {
        // The items of a list carry neither apiVersion nor kind; those of a watch do.
        items.push(this.#bounded({ ...identify(resource), ...(item as T) }));
      })) as { metadata?: { resourceVersion?: string; continue?: string }; items?: unknown } | null;
      const resourceVersion = page?.metadata?.resourceVersion;
      if (!resourceVersion || page?.items === undefined) {
        throw noAnswer('InvalidResponse', `GET ${path}: the answer is not a list`);
      }
      yield { items, resourceVersion };
      next = page.metadata?.continue;
    } while (next);
  }

  /**
   * The changes after `resourceVersion`, bookmarks included. Ends without an error when `durationMs` is over or the
   * server ends it; an ERROR event is thrown as the ApiError it carries. `idleMs` is the longest silence that is
   * taken for a quiet and not for a dead connection: a bookmark comes about every minute.
   */
  async *watch<T extends KubernetesObject>(
    resource: Resource<T>,
    selection: Selection & { resourceVersion: string; durationMs: number; idleMs: number },
    signal?: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>, void> {
    const path = pathOf(resource, selection);
    const query = {
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: selection.resourceVersion,
      labelSelector: selection.labelSelector,
      fieldSelector: selection.fieldSelector,
      timeoutSeconds: String(Math.max(1, Math.ceil(selection.durationMs / 1000))),
    };
    const end = Date.now() + selection.durationMs;
    for await (const line of this.#http.lines({ method: 'GET', path, query }, { idleMs: selection.idleMs, signal })) {
      const { type, object } = (line ?? {}) as { type?: string; object?: { metadata?: { resourceVersion?: string } } };
      if (type === 'ERROR') throw errorFromStatus(object, { status: 500, message: `GET ${path}: the watch failed` });
      if (!/^(ADDED|MODIFIED|DELETED|BOOKMARK)$/.test(type ?? '') || !object?.metadata?.resourceVersion) {
        throw noAnswer('InvalidResponse', `GET ${path}: not a watch event`);
      }
      const event = line as WatchEvent<T>;
      yield event.type === 'BOOKMARK' ? event : { ...event, object: this.#bounded(event.object) };
      if (Date.now() >= end) return;
    }
  }

  create<T extends KubernetesObject>(
    resource: Resource<T>,
    object: ApplyConfiguration<T>,
    options: RequestOptions & { fieldManager?: string; dryRun?: boolean } = {},
  ): Promise<T> {
    const path = pathOf(resource, { namespace: object.metadata.namespace });
    const query = { fieldManager: options.fieldManager, dryRun: options.dryRun ? 'All' : undefined };
    const request: HttpRequest = { method: 'POST', path, query, body: { ...identify(resource), ...object } };
    return this.#write('create', resource, request, options);
  }

  /**
   * Server-side apply: makes the object, or states all fields that `fieldManager` wants of it. Fields it stated
   * before and does not state now are removed. A field that another manager owns with another value is a Conflict
   * (409), unless `force`. With `subresource: 'status'` only the status is written.
   */
  apply<T extends KubernetesObject>(
    resource: Resource<T>,
    object: ApplyConfiguration<T>,
    options: RequestOptions & { fieldManager: string; force?: boolean; dryRun?: boolean; subresource?: 'status' },
  ): Promise<T> {
    const path = pathOf(resource, object.metadata, options.subresource);
    const query = {
      fieldManager: options.fieldManager,
      force: options.force ? 'true' : undefined,
      dryRun: options.dryRun ? 'All' : undefined,
    };
    const contentType = 'application/apply-patch+yaml';
    const body = { ...identify(resource), ...object };
    return this.#write('patch', resource, { method: 'PATCH', path, query, contentType, body }, options);
  }

  /** JSON merge patch: changes the fields that `patch` names and no others; null removes one. With metadata.uid only of that very object (else 409), but for a status, where only resourceVersion is compared. */
  mergePatch<T extends KubernetesObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    patch: object,
    options: RequestOptions & { fieldManager: string; subresource?: 'status' },
  ): Promise<T> {
    const path = pathOf(resource, ref, options.subresource);
    const query = { fieldManager: options.fieldManager };
    const contentType = 'application/merge-patch+json';
    const request: HttpRequest = { method: 'PATCH', path, query, contentType, body: patch };
    return this.#write('patch', resource, request, options);
  }

  /** Deletes one object; with `uid` only if it is still that one (else 409). The default leaves dependents to the garbage collector. */
  async delete(
    resource: Resource,
    ref: ObjectRef,
    options: RequestOptions & { uid?: string; propagationPolicy?: 'Background' | 'Foreground' | 'Orphan' } = {},
  ): Promise<void> {
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      propagationPolicy: options.propagationPolicy ?? 'Background',
      preconditions: options.uid ? { uid: options.uid } : undefined,
    };
    await this.#write('delete', resource, { method: 'DELETE', path: pathOf(resource, ref), body }, options);
  }

  async #object<T>(request: HttpRequest, options?: RequestOptions): Promise<T> {
    return this.#bounded((await this.#json(request, options)) as T & KubernetesObject);
  }

  /** What has no metadata is no object: an answer to a delete, or a defect that is its reader's to tell. */
  #bounded<T extends KubernetesObject>(object: T): T {
    return object?.metadata ? bounded(object, this.#options.kept) : object;
  }

  async #write<T>(
    verb: WriteVerb,
    { kind }: Resource,
    request: HttpRequest,
    options: RequestOptions & { dryRun?: boolean },
  ): Promise<T> {
    const tell = options.dryRun ? undefined : this.#options.onWrite;
    try {
      const answer = await this.#object<T>(request, options);
      tell?.(verb, kind, 200);
      return answer;
    } catch (error) {
      tell?.(verb, kind, error instanceof ApiError ? error.status : 0);
      throw error;
    }
  }

  async #json(request: HttpRequest, options: RequestOptions = {}): Promise<unknown> {
    const { timeoutMs = defaultTimeoutMs, signal = this.#options.signal } = options;
    await this.#options.limiter?.turn(signal);
    return this.#http.json(request, { timeoutMs, signal });
  }
}

function identify({ apiVersion, kind }: Resource): { apiVersion: string; kind: string } {
  return { apiVersion, kind };
}

/** The path of one object, or of a collection when there is no name. */
function pathOf(resource: Resource, ref: Partial<ObjectRef>, subresource?: string): string {
  const { apiVersion, kind, plural, namespaced } = resource;
  if (namespaced && ref.name !== undefined && !ref.namespace) throw new Error(`${kind} ${ref.name} needs a namespace`);
  const path = [apiVersion.includes('/') ? '/apis' : '/api', apiVersion];
  if (namespaced && ref.namespace) path.push('namespaces', encodeURIComponent(ref.namespace));
  path.push(plural);
  if (ref.name !== undefined) path.push(encodeURIComponent(ref.name));
  if (subresource) path.push(subresource);
  return path.join('/');
}
