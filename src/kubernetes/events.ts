import { randomBytes } from 'node:crypto';
import type { Client } from './client.ts';
import type { Logger } from './logger.ts';
import { type KubernetesObject, keyOf, type ObjectMeta, type Resource } from './types.ts';

export type EventType = 'Normal' | 'Warning';

interface ObjectReference {
  apiVersion: string;
  kind: string;
  namespace?: string;
  name: string;
  uid?: string;
}

/** A core/v1 Event: `kubectl describe` shows its count and source, which it does less well for events.k8s.io/v1. */
export interface KubernetesEvent extends KubernetesObject {
  involvedObject: ObjectReference;
  type: EventType;
  reason: string;
  message: string;
  count: number;
  firstTimestamp: string;
  lastTimestamp: string;
  source: { component: string };
  reportingComponent: string;
  reportingInstance: string;
}

const eventResource: Resource<KubernetesEvent> = {
  apiVersion: 'v1',
  kind: 'Event',
  plural: 'events',
  namespaced: true,
};

// events.k8s.io's limit on `note`, kept by client-go too.
const maxMessageLength = 1024;
const maxRemembered = 1024;

/**
 * Writes Events about objects. The same type, reason and message about the same object raises the count of the one
 * Event. Best effort: a failed write is logged. Needs create and patch on events.
 */
export class EventRecorder {
  readonly #client: Client;
  readonly #log: Logger;
  readonly #component: string;
  readonly #instance: string;
  readonly #now: () => Date;
  /** The Events written so far, the least recently used first. */
  readonly #remembered = new Map<string, KubernetesEvent>();
  /** Keys of `#remembered` that changed since they were written. */
  readonly #unwritten = new Set<string>();
  #writing: Promise<void> | undefined;

  /** `component` is what describe shows as From; `instance` the Pod's name. */
  constructor(options: { client: Client; log: Logger; component: string; instance: string; now?: () => Date }) {
    this.#client = options.client;
    this.#log = options.log;
    this.#component = options.component;
    this.#instance = options.instance;
    this.#now = options.now ?? (() => new Date());
  }

  /** Records an Event; it is written in the background. `reason` is CamelCase, `message` a sentence (cut to 1,024). */
  record(object: KubernetesObject, type: EventType, reason: string, message: string): void {
    const text = message.length > maxMessageLength ? `${message.slice(0, maxMessageLength - 1)}…` : message;
    const key = JSON.stringify([object.kind, keyOf(object.metadata), object.metadata.uid, type, reason, text]);
    const time = `${this.#now().toISOString().slice(0, 19)}Z`;
    const known = this.#remembered.get(key);
    const event = known
      ? { ...known, count: known.count + 1, lastTimestamp: time }
      : this.#newEvent(object, type, reason, text, time);
    this.#remembered.delete(key);
    this.#remembered.set(key, event);
    if (this.#remembered.size > maxRemembered) this.#forgetOldest();
    this.#unwritten.add(key);
    this.#writing ??= this.#writeAll();
  }

  /** Resolves when all that was recorded so far is written, or has failed; never rejects. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  #newEvent(object: KubernetesObject, type: EventType, reason: string, message: string, time: string): KubernetesEvent {
    const { namespace, name, uid } = object.metadata;
    // Names of objects end at 253 characters; client-go appends the time likewise.
    const metadata: ObjectMeta = {
      namespace: namespace ?? 'default',
      name: `${name.slice(0, 236)}.${randomBytes(8).toString('hex')}`,
    };
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata,
      involvedObject: { apiVersion: object.apiVersion, kind: object.kind, namespace, name, uid },
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: time,
      lastTimestamp: time,
      source: { component: this.#component },
      reportingComponent: this.#component,
      reportingInstance: this.#instance,
    };
  }

  /** Writes what changed, one Event at a time: many records of one Event meanwhile are one write. */
  async #writeAll(): Promise<void> {
    // The loop also sees the keys that are added while it waits.
    for (const key of this.#unwritten) {
      this.#unwritten.delete(key);
      const event = this.#remembered.get(key);
      if (event) await this.#write(event);
    }
    this.#writing = undefined;
  }

  async #write(event: KubernetesEvent): Promise<void> {
    try {
      // An apply makes the Event anew when its time to live is over.
      await this.#client.apply(eventResource, event, { fieldManager: this.#component, force: true, timeoutMs: 10_000 });
    } catch (error) {
      const { involvedObject, reason, message } = event;
      this.#log.warn({ object: involvedObject, reason, message, err: error }, 'an Event could not be written');
    }
  }

  #forgetOldest(): void {
    const [oldest] = this.#remembered.keys();
    if (oldest === undefined) return;
    this.#remembered.delete(oldest);
    this.#unwritten.delete(oldest);
  }
}
