import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Connection } from '../../src/kubernetes/connection.ts';
import type { KubernetesObject, Resource } from '../../src/kubernetes/types.ts';

export interface Thing extends KubernetesObject {
  value?: string;
}

export const things: Resource<Thing> = {
  apiVersion: 'example.io/v1',
  kind: 'Thing',
  plural: 'things',
  namespaced: true,
};

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;
type Kind = 'list' | 'watch' | 'other';

/**
 * Plays the list and watch wire format of an API server over plain HTTP, for objects of one kind. Each request is
 * answered by the next scripted answer of its kind, if any; else as it should be.
 */
export class ScriptedApiServer {
  readonly objects = new Map<string, Thing>();
  /** JSON that takes the place of a string in all that is sent: what is too deep to be made of an object here. */
  readonly substitutes = new Map<string, string>();
  readonly requests: { kind: Kind; method: string; url: URL; headers: IncomingMessage['headers']; body: string }[] = [];
  readonly #scripts: Record<Kind, Answer[]> = { list: [], watch: [], other: [] };
  #history: { resourceVersion: number; line: string }[] = [];
  /** Watches as of older versions are answered by 410. */
  #oldest = 0;
  #resourceVersion = 100;
  #watches = new Set<ServerResponse>();
  #server: Server;
  #port = 0;

  constructor() {
    this.#server = this.#create();
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Cuts every connection and refuses new ones, until `start`. */
  async stop(): Promise<void> {
    const server = this.#server;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
    this.#server = this.#create();
  }

  get connection(): Connection {
    return { server: `http://127.0.0.1:${this.#port}`, options: async () => ({}) };
  }

  get openWatches(): number {
    return this.#watches.size;
  }

  count(kind: Kind): number {
    return this.requests.filter((request) => request.kind === kind).length;
  }

  next(kind: Kind, ...answers: Answer[]): void {
    this.#scripts[kind].push(...answers);
  }

  /** Creates or changes `namespace/name`, with `more` fields; `silently` tells no watch of it, as if the event got lost. */
  put(key: string, value: string, { silently = false, more = {} }: { silently?: boolean; more?: object } = {}): void {
    const [namespace = '', name = ''] = key.split('/');
    const type = this.objects.has(key) ? 'MODIFIED' : 'ADDED';
    const resourceVersion = String(++this.#resourceVersion);
    const { metadata: extra, ...fields } = more as { metadata?: object };
    const created = { uid: `uid-${key}`, creationTimestamp: '2026-11-23T03:17:00Z' };
    const metadata = { namespace, name, resourceVersion, ...created, ...extra };
    const object = { apiVersion: things.apiVersion, kind: things.kind, metadata, value, ...fields };
    this.objects.set(key, object);
    if (!silently) this.#publish(type, object);
  }

  remove(key: string, { silently = false } = {}): void {
    const object = this.objects.get(key);
    if (!object) throw new Error(`no ${key}`);
    this.objects.delete(key);
    const resourceVersion = String(++this.#resourceVersion);
    if (!silently) this.#publish('DELETED', { ...object, metadata: { ...object.metadata, resourceVersion } });
  }

  bookmark(): void {
    const metadata = { resourceVersion: String(++this.#resourceVersion) };
    this.#publish('BOOKMARK', { kind: things.kind, apiVersion: things.apiVersion, metadata });
  }

  /** Forgets the past: who watches from before now gets 410. */
  compact(): void {
    this.#history = [];
    this.#oldest = this.#resourceVersion;
  }

  /** Does something to every open watch, such as sending garbage or cutting it. */
  disturbWatches(disturb: (response: ServerResponse) => void): void {
    for (const response of this.#watches) disturb(response);
  }

  #create(): Server {
    return createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        const url = new URL(request.url ?? '/', 'http://localhost');
        const isCollection = request.method === 'GET' && url.pathname.endsWith('/things');
        const kind = !isCollection ? 'other' : url.searchParams.has('watch') ? 'watch' : 'list';
        this.requests.push({ kind, method: request.method ?? '', url, headers: request.headers, body });
        const scripted = this.#scripts[kind].shift();
        if (scripted) scripted(request, response);
        else if (kind === 'list') this.#list(url, response);
        else if (kind === 'watch') this.#watch(url, response);
        else json(200, {})(request, response);
      });
    });
  }

  #text(value: object): string {
    let text = JSON.stringify(value);
    for (const [string, json] of this.substitutes) text = text.replaceAll(JSON.stringify(string), json);
    return text;
  }

  #publish(type: string, object: object): void {
    const line = `${this.#text({ type, object })}\n`;
    this.#history.push({ resourceVersion: this.#resourceVersion, line });
    for (const response of this.#watches) if (!response.writableEnded) response.write(line);
  }

  #list(url: URL, response: ServerResponse): void {
    const limit = Number(url.searchParams.get('limit') ?? 500);
    const start = Number(url.searchParams.get('continue') ?? 0);
    const all = [...this.objects.values()];
    // As the real one does it: items of a list have neither apiVersion nor kind.
    const items = all.slice(start, start + limit).map(({ apiVersion, kind, ...item }) => item);
    const more = start + limit < all.length ? String(start + limit) : undefined;
    const metadata = { resourceVersion: String(this.#resourceVersion), continue: more };
    response.setHeader('content-type', 'application/json');
    response.end(this.#text({ kind: 'ThingList', apiVersion: things.apiVersion, metadata, items }));
  }

  #watch(url: URL, response: ServerResponse): void {
    const from = Number(url.searchParams.get('resourceVersion'));
    if (from < this.#oldest) {
      gone(response);
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    for (const { resourceVersion, line } of this.#history) if (resourceVersion > from) response.write(line);
    this.#watches.add(response);
    response.on('close', () => this.#watches.delete(response));
  }
}

/** A whole JSON answer. */
export function json(status: number, body: unknown, headers: Record<string, string> = {}): Answer {
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(body));
  };
}

/** A refusal in the API server's form. */
export function refusal(code: number, reason: string, message: string, headers?: Record<string, string>): Answer {
  return json(code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason, code }, headers);
}

/** What an API server says to a watch that starts too far in the past. */
function gone(response: ServerResponse): void {
  const object = {
    kind: 'Status',
    status: 'Failure',
    reason: 'Expired',
    message: 'too old resource version',
    code: 410,
  };
  response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
}
