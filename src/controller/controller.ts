import { hostname } from 'node:os';
import { policyLabel } from '../api/policy.ts';
import { Client } from '../kubernetes/client.ts';
import type { Connection } from '../kubernetes/connection.ts';
import { EventRecorder } from '../kubernetes/events.ts';
import { Informer } from '../kubernetes/informer.ts';
import type { Logger } from '../kubernetes/logger.ts';
import { runManager } from '../kubernetes/manager.ts';
import { type KubernetesObject, keyOf, type ObjectRef, type Resource } from '../kubernetes/types.ts';
import { WorkQueue } from '../kubernetes/work-queue.ts';
import { resources, type StoredPolicy } from './objects.ts';
import { secretName } from './overlap.ts';
import type { RunnerImage } from './pod.ts';
import { policyKey, Reconciler } from './reconcile.ts';

const component = 'retention-controller';
/** Policies reconciled at a time; each mostly waits for the API server. */
const concurrency = 4;
/** How long requests under way may go on after a stop: with all else, the controller is out within 10 s. */
const stopGraceMs = 5_000;

export interface ControllerOptions extends RunnerImage {
  connection: Connection;
  /** The namespaces it works in; all of them where none is given. */
  namespaces?: string[];
  log: Logger;
  signal: AbortSignal;
  now?: () => Date;
  /** How often everything is listed and reconciled anew; see Informer. */
  relistMs?: number;
}

/** Runs the controller until `signal` aborts and what is under way is done, or given up after `stopGraceMs`. */
export async function runController(options: ControllerOptions): Promise<void> {
  const { connection, image, imagePullPolicy, log, signal, now = () => new Date() } = options;
  const client = new Client(connection, { signal: abortedLater(signal, stopGraceMs) });
  const queue = new WorkQueue(log);
  const watches = watchAll(client, queue, options);
  const events = new EventRecorder({ client, log, component, instance: hostname(), now });
  const caches = watches.caches;
  const reconciler = new Reconciler({ client, caches, events, runner: { image, imagePullPolicy }, log, now });
  const reconcile = (key: string) => reconciler.reconcile(key);
  await runManager({ informers: watches.informers, queue, reconcile, concurrency, log, signal });
  await events.flush();
}

/** Aborted `ms` after `signal`. */
function abortedLater(signal: AbortSignal, ms: number): AbortSignal {
  const later = new AbortController();
  const abort = () => setTimeout(() => later.abort(), ms).unref();
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  return later.signal;
}

/** Informers on the policies, and on all that carries our label; their handlers only enqueue keys of policies. */
function watchAll(client: Client, queue: WorkQueue, { namespaces = [], log, relistMs }: ControllerOptions) {
  const informers: Informer<KubernetesObject>[] = [];
  const watch = <T extends KubernetesObject>(
    resource: Resource<T>,
    enqueue: (object: T) => void,
    selection: { labelSelector?: string; indexBy?: (object: T) => string[] },
  ): Merged<T> => {
    const onChange = (old: T | undefined, current: T | undefined) => {
      if (old) enqueue(old);
      if (current) enqueue(current);
    };
    const made = (namespaces.length > 0 ? namespaces : [undefined]).map(
      (namespace) => new Informer({ client, resource, namespace, log, relistMs, onChange, ...selection }),
    );
    informers.push(...(made as unknown as Informer<KubernetesObject>[]));
    return new Merged(made);
  };
  const own = { labelSelector: policyLabel, indexBy: (object: KubernetesObject) => [policyKey(object)] };
  const enqueueOwner = (object: KubernetesObject) => queue.add(policyKey(object));

  const policies: Merged<StoredPolicy> = watch(
    resources.policies,
    (policy) => {
      queue.add(keyOf(policy.metadata));
      // Whether two overlap depends on both.
      for (const other of policies.list(policy.metadata.namespace)) {
        if (secretName(other) === secretName(policy)) queue.add(keyOf(other.metadata));
      }
    },
    {},
  );
  const caches = {
    policies,
    cronJobs: watch(resources.cronJobs, enqueueOwner, own),
    jobs: watch(resources.jobs, enqueueOwner, own),
    pods: watch(resources.pods, enqueueOwner, own),
    serviceAccounts: watch(resources.serviceAccounts, enqueueOwner, own),
    roles: watch(resources.roles, enqueueOwner, own),
    roleBindings: watch(resources.roleBindings, enqueueOwner, own),
  };
  return { informers, caches };
}

/** The informers of one kind, one for each namespace, read as one. */
class Merged<T extends KubernetesObject> {
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
