import { hostname } from 'node:os';
import { group, policyLabel, runFieldManager, statisticsFieldManager } from '../api/policy.ts';
import type { Kept } from '../kubernetes/bounded.ts';
import { Client } from '../kubernetes/client.ts';
import type { Connection } from '../kubernetes/connection.ts';
import { EventRecorder } from '../kubernetes/events.ts';
import { Informer, type InformerOptions } from '../kubernetes/informer.ts';
import type { LeaseTimes } from '../kubernetes/leader-election.ts';
import type { Logger } from '../kubernetes/logger.ts';
import { runManager } from '../kubernetes/manager.ts';
import { MergedInformers } from '../kubernetes/merged-informers.ts';
import { startMonitoringServer } from '../kubernetes/monitoring-server.ts';
import { RateLimiter } from '../kubernetes/rate-limiter.ts';
import { RuntimeMetrics } from '../kubernetes/runtime-metrics.ts';
import { type KubernetesObject, keyOf, type Resource } from '../kubernetes/types.ts';
import { WorkQueue } from '../kubernetes/work-queue.ts';
import { readiness, unavailable, unhealthy } from './health.ts';
import { Leadership } from './leadership.ts';
import { fieldManager } from './names.ts';
import { resources, type StoredPolicy } from './objects.ts';
import { isStalledItself, overlapKeys } from './overlap.ts';
import { OwnWrites } from './own-writes.ts';
import type { RunnerImage } from './pod.ts';
import { policyMetricsText } from './policy-metrics.ts';
import { policyKey, Reconciler } from './reconcile.ts';

const component = 'retention-controller';
/** Policies reconciled at a time; each mostly waits for the API server. */
const concurrency = 8;
/** Bounds what the API server has to bear from one controller, whatever happens. */
const requestsPerSecond = 500;
const requestBurst = 1_000;
/** How long requests under way may go on after a stop: with all else, the controller is out within 10 s. */
const stopGraceMs = 5_000;

/** Of metadata the controller reads its own annotations, and what it and the runs have applied. */
const kept: Kept = {
  annotation: (key) => key.startsWith(`${group}/`),
  manager: (name) => name === fieldManager || name === statisticsFieldManager || name.startsWith(runFieldManager('')),
};

export interface ControllerOptions extends RunnerImage {
  connection: Connection;
  /** The namespaces it works in; all of them where none is given. */
  namespaces?: string[];
  log: Logger;
  signal: AbortSignal;
  now?: () => Date;
  /** How often everything is listed and reconciled anew; see Informer. */
  relistMs?: number;
  /** Of the Lease by which one of several controllers is elected; without it this one works alone. */
  leaseNamespace?: string;
  leaseTimes?: LeaseTimes;
  /** Where /metrics, /healthz and /readyz are served; 0 for any free port, nowhere without it. */
  port?: number;
}

/**
 * Runs the controller until `signal` aborts and what is under way is done, or given up after `stopGraceMs`. Rejects where
 * it has lost its Lease, with all requests given up at once, and where the port cannot be had.
 */
export async function runController(options: ControllerOptions): Promise<void> {
  const { connection, image, imagePullPolicy, allowed, log, signal, now = () => new Date() } = options;
  const leadership = new Leadership({
    client: new Client(connection),
    namespace: options.leaseNamespace,
    times: options.leaseTimes,
    log,
  });
  const stop = AbortSignal.any([signal, leadership.lost]);
  const metrics = new RuntimeMetrics({
    depth: () => queue.depth,
    failing: () => queue.failing,
    leading: () => leadership.leading,
    watches: () => informers,
    unavailable: () => unavailable(informers),
  });
  const queue = new WorkQueue(log, undefined, metrics);
  const client = new Client(connection, {
    signal: AbortSignal.any([abortedLater(signal, stopGraceMs), leadership.lost]),
    kept,
    limiter: new RateLimiter(requestsPerSecond, requestBurst),
    onWrite: metrics.wrote,
  });
  const { informers, caches, ownWrites } = watchAll(client, queue, metrics.restarted, options);
  const monitoring = await startMonitoring(options.port, informers, queue, async () => {
    const policies = leadership.leading ? caches.policies.list() : [];
    return (await metrics.registry.metrics()) + (await policyMetricsText(policies));
  });
  if (monitoring) log.info({ port: monitoring.port }, 'serving /metrics, /healthz and /readyz');
  try {
    const events = new EventRecorder({ client, log, component, instance: hostname(), now });
    const reconciler = new Reconciler({
      client,
      caches,
      complete: (namespace) =>
        informers
          .filter((informer) => [namespace, undefined].includes(informer.namespace))
          .every(({ hasSynced }) => hasSynced),
      ownWrites,
      events,
      runner: { image, imagePullPolicy, allowed },
      log,
      now,
    });
    const reconcile = (key: string) => reconciler.reconcile(key);
    const elected = () => leadership.acquire(stop);
    await runManager({ informers, queue, reconcile, concurrency, elected, log, signal: stop });
    await events.flush();
    await leadership.release();
  } finally {
    monitoring?.close();
  }
  if (leadership.lost.aborted) {
    throw new Error(
      'another controller may lead now, since the Lease could not be renewed in time: start this one anew',
    );
  }
}

async function startMonitoring(
  port: number | undefined,
  informers: Informer<KubernetesObject>[],
  queue: WorkQueue,
  metrics: () => Promise<string>,
) {
  if (port === undefined) return undefined;
  return startMonitoringServer(port, {
    metrics,
    unhealthy: () => unhealthy(informers, queue.longestRunningMs),
    readiness: () => readiness(informers),
  });
}

/** Aborted `ms` after `signal`. */
function abortedLater(signal: AbortSignal, ms: number): AbortSignal {
  const later = new AbortController();
  const abort = () => setTimeout(() => later.abort(), ms).unref();
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  return later.signal;
}

/** All of a policy on which it depends whether another one overlaps with it. */
const asRival = (policy: StoredPolicy): string => {
  const { uid, generation, deletionTimestamp } = policy.metadata;
  return JSON.stringify([uid, generation, deletionTimestamp, isStalledItself(policy), overlapKeys(policy)]);
};

/** Informers on the policies, and on all that carries our label; their handlers enqueue keys of policies. */
function watchAll(
  client: Client,
  queue: WorkQueue,
  onRestart: (kind: string) => void,
  { namespaces = [], log, relistMs }: ControllerOptions,
) {
  const informers: Informer<KubernetesObject>[] = [];
  const byKind = new Map<string, Pick<MergedInformers<KubernetesObject>, 'get'>>();
  const ownWrites = new OwnWrites(({ kind, metadata }) => byKind.get(kind)?.get(metadata));
  const watch = <T extends KubernetesObject>(
    resource: Resource<T>,
    enqueue: (old: T | undefined, current: T | undefined) => void,
    selection: Pick<InformerOptions<T>, 'labelSelector' | 'indexBy'>,
  ): MergedInformers<T> => {
    const onChange = (old: T | undefined, current: T | undefined) => {
      enqueue(old, current);
      if (current) ownWrites.seen(current);
      else if (old) ownWrites.gone(old);
    };
    const made = (namespaces.length > 0 ? namespaces : [undefined]).map(
      (namespace) => new Informer({ client, resource, namespace, log, relistMs, onChange, onRestart, ...selection }),
    );
    informers.push(...(made as unknown as Informer<KubernetesObject>[]));
    const merged = new MergedInformers(made);
    byKind.set(resource.kind, merged);
    return merged;
  };
  const own = { labelSelector: policyLabel };
  const byPolicy = { ...own, indexBy: (object: KubernetesObject) => [policyKey(object)] };
  const enqueueOwner = (...states: (KubernetesObject | undefined)[]) => {
    for (const object of states) if (object) queue.add(policyKey(object));
  };

  const policies: MergedInformers<StoredPolicy> = watch(
    resources.policies,
    (old, current) => {
      queue.add(keyOf((current ?? old)!.metadata));
      // Whether two overlap depends on both: on what they ask for, and on the databases of their runs.
      if (old && current && asRival(old) === asRival(current)) return;
      for (const key of [old, current].flatMap((policy) => (policy ? overlapKeys(policy) : []))) {
        for (const rival of policies.indexed(key)) queue.add(keyOf(rival.metadata));
      }
    },
    { indexBy: overlapKeys },
  );
  const caches = {
    policies,
    cronJobs: watch(resources.cronJobs, enqueueOwner, byPolicy),
    jobs: watch(resources.jobs, enqueueOwner, byPolicy),
    pods: watch(resources.pods, enqueueOwner, byPolicy),
    serviceAccounts: watch(resources.serviceAccounts, enqueueOwner, own),
    roles: watch(resources.roles, enqueueOwner, own),
    roleBindings: watch(resources.roleBindings, enqueueOwner, own),
  };
  return { informers, caches, ownWrites };
}
