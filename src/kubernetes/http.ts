import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https';
import { ApiError, errorFromStatus, noAnswer } from './api-error.ts';
import type { Connection, ConnectionOptions } from './connection.ts';
import { ListSplitter } from './list-splitter.ts';

export interface HttpRequest {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Starts at the API root: `/apis/batch/v1/…`. */
  path: string;
  query?: Record<string, string | undefined>;
  /** Sent as JSON. */
  body?: unknown;
  contentType?: string;
}

/** Aborts its signal when the time is up or when an outer signal aborts. Call `clear` when done. */
class Deadline {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #outer: AbortSignal | undefined;
  readonly #onOuterAbort = () => this.#controller.abort(noAnswer('Aborted', 'the request was aborted'));

  constructor(ms: number, what: string, outer: AbortSignal | undefined) {
    const timeout = noAnswer('Timeout', `${what}: no answer from the Kubernetes API server within ${ms / 1000} s`);
    this.#timer = setTimeout(() => this.#controller.abort(timeout), ms);
    this.#outer = outer;
    if (outer?.aborted) this.#onOuterAbort();
    outer?.addEventListener('abort', this.#onOuterAbort);
  }
  get signal(): AbortSignal {
    return this.#controller.signal;
  }
  /** Starts the time anew. */
  extend(): void {
    if (!this.signal.aborted) this.#timer.refresh();
  }
  clear(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#onOuterAbort);
  }
}

/** The HTTP of the API server: one JSON document, or a stream of JSON lines. Every failure is an `ApiError`. */
export class Http {
  readonly #connection: Connection;
  readonly #base: URL;
  // Idle sockets go before a load balancer's usual 60 s, so none is used that the other side has dropped.
  readonly #agentOptions = { keepAlive: true, timeout: 30_000 };
  readonly #agent: HttpAgent;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#base = new URL(connection.server);
    this.#agent =
      this.#base.protocol === 'http:' ? new HttpAgent(this.#agentOptions) : new HttpsAgent(this.#agentOptions);
  }

  /** Sends a request and returns the answer's JSON. `timeoutMs` spans all of it. */
  async json(
    request: HttpRequest,
    { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<unknown> {
    const deadline = new Deadline(timeoutMs, describe(request), signal);
    try {
      const response = await this.#open(request, deadline.signal);
      return parse(await readAll(response), request);
    } catch (error) {
      throw asApiError(error, request, deadline.signal);
    } finally {
      deadline.clear();
    }
  }

  /** Sends a request for a list and returns it without its items, of which each is handed on as it comes. `idleMs` is as of `lines`. */
  async list(
    request: HttpRequest,
    { idleMs, signal }: { idleMs: number; signal?: AbortSignal },
    onItem: (item: unknown) => void,
  ): Promise<unknown> {
    const deadline = new Deadline(idleMs, describe(request), signal);
    try {
      const response = await this.#open(request, deadline.signal);
      const splitter = new ListSplitter((text) => onItem(parse(text, request)));
      for await (const chunk of response) {
        deadline.extend();
        splitter.write(chunk as Buffer);
      }
      return parse(splitter.end(), request);
    } catch (error) {
      throw asApiError(error, request, deadline.signal);
    } finally {
      deadline.clear();
    }
  }

  /** Sends a request and yields each line of the answer, parsed. `idleMs` is the longest silence, connecting included. */
  async *lines(
    request: HttpRequest,
    { idleMs, signal }: { idleMs: number; signal?: AbortSignal },
  ): AsyncGenerator<unknown, void> {
    const deadline = new Deadline(idleMs, describe(request), signal);
    try {
      const response = await this.#open(request, deadline.signal);
      response.setEncoding('utf8');
      // What has come of a line: joined once, since a line of a megabyte comes in a hundred chunks.
      let begun: string[] = [];
      for await (const chunk of response) {
        deadline.extend();
        const [end = '', ...lines] = String(chunk).split('\n');
        begun.push(end);
        for (const next of lines) {
          const line = begun.join('');
          begun = [next];
          if (line.trim()) yield parse(line, request);
        }
      }
      const rest = begun.join('');
      if (rest.trim()) yield parse(rest, request);
    } catch (error) {
      throw asApiError(error, request, deadline.signal);
    } finally {
      deadline.clear();
    }
  }

  /** Resolves with a 2xx answer whose body is still to be read; any other answer is thrown as an ApiError. */
  async #open(request: HttpRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const credentials = await this.#credentials(signal);
    const response = await this.#send(request, credentials, signal);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const text = await readAll(response);
    const retryAfter = Number(response.headers['retry-after']);
    throw errorFromStatus(parseOrUndefined(text), {
      status,
      message: `${describe(request)}: ${status} ${response.statusMessage ?? ''}`.trim(),
      retryAfterSeconds: retryAfter > 0 ? retryAfter : undefined,
    });
  }

  async #credentials(signal: AbortSignal): Promise<ConnectionOptions> {
    try {
      return await Promise.race([this.#connection.options(), rejectOnAbort(signal)]);
    } catch (error) {
      if (signal.aborted) throw error;
      throw noAnswer('CredentialsUnavailable', `no credentials for the Kubernetes API server: ${say(error)}`, error);
    }
  }

  #send(request: HttpRequest, credentials: ConnectionOptions, signal: AbortSignal): Promise<IncomingMessage> {
    const body = request.body === undefined ? undefined : serialize(request.body);
    const query = new URLSearchParams(
      Object.entries(request.query ?? {}).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ).toString();
    const options: RequestOptions = {
      protocol: this.#base.protocol,
      host: this.#base.hostname.replace(/^\[|\]$/g, ''),
      port: this.#base.port,
      path: this.#base.pathname.replace(/\/$/, '') + request.path + (query && `?${query}`),
      method: request.method,
      agent: this.#agent,
      signal,
      ...credentials,
      headers: {
        accept: 'application/json',
        ...(body !== undefined && {
          'content-type': request.contentType ?? 'application/json',
          'content-length': Buffer.byteLength(body),
        }),
        ...(credentials.headers as Record<string, string> | undefined),
      },
    };
    return new Promise((resolve, reject) => {
      const send = this.#base.protocol === 'http:' ? httpRequest : httpsRequest;
      const outgoing = send(options, resolve);
      outgoing.on('error', (error) => {
        const message = `cannot reach the Kubernetes API server at ${this.#base.origin}: ${say(error)}`;
        reject(noAnswer('Unreachable', message, error));
      });
      outgoing.end(body);
    });
  }
}

/**
 * JSON that is YAML too, which is how the API server parses an apply: characters that YAML forbids or takes for line
 * breaks are escaped, and a lone surrogate, which has no UTF-8, becomes U+FFFD.
 */
function serialize(body: unknown): string {
  const text = JSON.stringify(body, (_, value: unknown) => (typeof value === 'string' ? value.toWellFormed() : value));
  return text.replace(
    /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

async function readAll(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function parse(text: string, request: HttpRequest): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw noAnswer('InvalidResponse', `${describe(request)}: the answer is not JSON`, error);
  }
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function asApiError(error: unknown, request: HttpRequest, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof ApiError) return error;
  return noAnswer('ConnectionLost', `${describe(request)}: the connection was cut: ${say(error)}`, error);
}

/** Method and path; the query is left out. */
function describe({ method, path }: HttpRequest): string {
  return `${method} ${path}`;
}

/** Node leaves the message of an AggregateError (every address refused) empty. */
function say(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || String((error as NodeJS.ErrnoException).code ?? error.name);
}
