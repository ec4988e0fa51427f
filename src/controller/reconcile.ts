import { policyLabel, suspendAnnotation } from '../api/policy.ts';
import type { Client } from '../kubernetes/client.ts';
import type { EventRecorder } from '../kubernetes/events.ts';
import type { Informer } from '../kubernetes/informer.ts';
import type { Logger } from '../kubernetes/logger.ts';
import { type KubernetesObject, keyOf, type ObjectRef, type Resource, refOf } from '../kubernetes/types.ts';
import type { ReconcileResult } from '../kubernetes/work-queue.ts';
import { notAllowed, nothingAllowed } from './allowed.ts';
import { announcements } from './announce.ts';
import { Contested } from './contested.ts';
import { whyNotStarted } from './diagnosis.ts';
import { contestedReasons } from './foreign-changes.ts';
import {
  type CronJob,
  isControlledBy,
  isFinished,
  type Job,
  type Pod,
  parsePolicy,
  parseStatus,
  type Role,
  type RoleBinding,
  type ServiceAccount,
  type StoredPolicy,
} from './objects.ts';
import { deleteOrphans } from './orphans.ts';
import { endOutdated } from './outdated-jobs.ts';
import { databaseOf, isStalledItself, overlapKeys, type Rival } from './overlap.ts';
import type { OwnWrites } from './own-writes.ts';
import type { PlaceContext } from './place.ts';
import { type Obstacle, placement } from './placement.ts';
import { jobOf, type RunnerImage } from './pod.ts';
import { jobNames, policyStatus } from './policy-status.ts';
import { Refusals } from './refusals.ts';
import { eventsOf, forgetJobs, reportForRuns } from './report.ts';
import { deleteJobs, surplusJobs } from './requested-jobs.ts';
import { ageOf, podGraceMs, requeueAfterMs } from './requeue.ts';
import { handleRequest } from './run-now.ts';
import { clearStatus, statusContent, statusDiffers, writeStatus } from './status-writes.ts';

/** What the controller watches: the policies, indexed by `overlapKeys`, and what carries our label, Jobs and Pods and CronJobs indexed by `policyKey`. */
interface Caches {
  policies: Pick<Informer<StoredPolicy>, 'get' | 'indexed'>;
  cronJobs: Pick<Informer<CronJob>, 'get' | 'indexed'>;
  jobs: Pick<Informer<Job>, 'indexed'>;
  pods: Pick<Informer<Pod>, 'indexed'>;
  serviceAccounts: Pick<Informer<ServiceAccount>, 'get'>;
  roles: Pick<Informer<Role>, 'get'>;
  roleBindings: Pick<Informer<RoleBinding>, 'get'>;
}

interface ReconcilerOptions {
  client: Client;
  caches: Caches;
  /** Whether the caches hold all there is of a namespace; not while a kind that was missing is listed anew. */
  complete: (namespace: string) => boolean;
  ownWrites: OwnWrites;
  events: Pick<EventRecorder, 'record'>;
  runner: RunnerImage;
  log: Logger;
  now: () => Date;
}

/** How long until the caches are looked at again. */
const incompleteMs = 1000;

/** The key of the policy whose label an object carries. */
export function policyKey({ metadata }: KubernetesObject): string {
  return keyOf({ namespace: metadata.namespace, name: metadata.labels?.[policyLabel] ?? '' });
}

/** Brings what exists for one policy in line with it, and says in its status how that went. */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #ownWrites: OwnWrites;
  readonly #refusals: Refusals;
  readonly #contested: Contested;
  readonly #known = new WeakMap<StoredPolicy, Rival | undefined>();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#ownWrites = options.ownWrites;
    this.#refusals = new Refusals(options.now);
    this.#contested = new Contested(options.now);
  }

  /** Reconciles the policy of this key; throws what should be tried again with backoff, after the status says so. */
  async reconcile(key: string): Promise<ReconcileResult | undefined> {
    const { client, caches, runner, now } = this.#options;
    const cached = caches.policies.get(refOf(key));
    // The owner references clean up behind a policy.
    if (!cached || isOrphaning(cached)) return undefined;
    if (!this.#options.complete(cached.metadata.namespace!)) return { requeueAfterMs: incompleteMs };
    const before = this.#ownWrites.newest(cached);
    if (before.omitted?.status) {
      this.#options.log.warn({ policy: key, omitted: before.omitted }, 'the status cannot be read, and is removed');
      this.#recorded(before, await clearStatus(client, before));
      return { requeueAfterMs: 0 };
    }
    let stored = before;
    const statusBefore = parseStatus(stored);
    const parsed = parsePolicy(stored);
    const policy = 'policy' in parsed ? parsed.policy : undefined;

    const deleting = deletionOf(stored);
    const orphaned = { cronJobs: caches.cronJobs.indexed(key), jobs: caches.jobs.indexed(key) };
    const existing = this.#cronJobs(stored);
    const placed = await placement(this.#placeContext(stored), {
      parsed,
      obstacle: deleting ?? (await deleteOrphans(this.#options, stored, orphaned)),
      fingerprint: databaseOf(stored)?.fingerprint,
      others: policy ? this.#rivals(stored) : [],
      runner,
      existing,
      now: now(),
    });

    const stalled = placed.stalled !== undefined;
    const names = jobNames(policy, placed.cronJobs);
    const {
      jobs: left,
      stopping,
      error = placed.error,
    } = await endOutdated(this.#options, stored, this.#jobs(stored, [...existing, ...placed.cronJobs]), {
      policy,
      stalled,
      deleting: deleting !== undefined,
      runner,
    });
    const jobs = left.filter((job) => names.includes(jobOf(job) ?? ''));
    stored = await reportForRuns(client, stored, jobs, names);
    if (!sameSpec(stored, before)) {
      // Changed meanwhile: nothing may be done, or said, of the new spec for what the old one was found to be.
      this.#ownWrites.record(stored);
      return { requeueAfterMs: 0 };
    }

    const lastHandled = statusBefore.lastHandledRunRequest;
    // What others have changed of it may stay for ever, and is no reason to leave people without an answer.
    const unplaced = placed.retrying && !contestedReasons.has(placed.retrying.reason);
    const request = unplaced
      ? undefined
      : await handleRequest(this.#options, stored, { policy, jobs, lastHandled, stalled, runner, now: now() });

    const waiting = jobs.filter((job) => !isFinished(job) && !job.status?.ready);
    const status = policyStatus({
      policy,
      generation: stored.metadata.generation ?? 0,
      stored: parseStatus(stored),
      ...placed,
      jobs,
      deleting: deleting !== undefined,
      stopping,
      notStarted: await this.#notStarted(key, waiting),
      lastHandledRunRequest: request?.handled ?? lastHandled,
      database: databaseOf(stored),
      now: now(),
    });
    // Two controllers that do not agree would write it in turns, without end.
    const said = { key: `status ${key}`, content: statusContent(status), differs: 'status' };
    const differs = statusDiffers(stored, status);
    const statusWaitMs = differs ? this.#contested.waitMs(said) : 0;
    if (statusWaitMs > 0) {
      if (error) throw error;
      return { requeueAfterMs: Math.min(statusWaitMs, placed.againMs ?? statusWaitMs) };
    }
    const written = await writeStatus(client, stored, status);
    if (differs) this.#contested.wrote(said, '');
    stored = this.#recorded(stored, written);
    request?.announce();
    for (const { type, reason, message } of announcements(statusBefore, status)) {
      this.#options.events.record(stored, type, reason, message);
    }
    // After the controller's own part: what others had taken of that is whole again by now.
    if (policy && !unplaced) this.#recorded(stored, await forgetJobs(client, stored, names));
    // Last: until the status has their results and requests, their being there is what says so.
    if (policy) await deleteJobs(client, surplusJobs(policy, jobs));
    if (error) throw error;
    const waits = [requeueAfterMs(status, policy, waiting, now()), placed.againMs].filter((ms) => ms !== undefined);
    return waits.length > 0 ? { requeueAfterMs: Math.min(...waits) } : {};
  }

  #recorded(before: StoredPolicy, written: StoredPolicy): StoredPolicy {
    if (written !== before) this.#ownWrites.record(written);
    return written;
  }

  #cronJobs(stored: StoredPolicy): CronJob[] {
    const labelled = this.#options.caches.cronJobs.indexed(keyOf(stored.metadata));
    return labelled
      .filter((cronJob) => isControlledBy(cronJob, stored.metadata.uid!) && !cronJob.metadata.deletionTimestamp)
      .map((cronJob) => this.#ownWrites.newest(cronJob));
  }

  /** The Jobs of the policy's CronJobs, those of `kubectl create job --from` too, and those it made itself; a label alone proves nothing. */
  #jobs(stored: StoredPolicy, cronJobs: CronJob[]): Job[] {
    const owners = new Set([stored, ...cronJobs].map(({ metadata }) => metadata.uid));
    const labelled = this.#options.caches.jobs.indexed(keyOf(stored.metadata));
    return labelled
      .filter(({ metadata }) => metadata.ownerReferences?.some(({ uid }) => owners.has(uid)))
      .map((job) => this.#ownWrites.newest(job));
  }

  #rivals(stored: StoredPolicy): Rival[] {
    const found = new Set(overlapKeys(stored).flatMap((key) => this.#options.caches.policies.indexed(key)));
    return [...found].flatMap((other) =>
      other.metadata.uid === stored.metadata.uid ? [] : (this.#rival(other) ?? []),
    );
  }

  /** A policy as others compare themselves with it; none that is in deletion, or that runs nothing for what it asks. */
  #rival(stored: StoredPolicy): Rival | undefined {
    // Each of many on one Secret would read all of them anew.
    if (!this.#known.has(stored)) {
      const parsed = parsePolicy(stored);
      const { allowed = nothingAllowed } = this.#options.runner;
      const ends = stored.metadata.deletionTimestamp !== undefined || isStalledItself(stored);
      const rival =
        'policy' in parsed && !ends && !notAllowed(parsed.policy.spec, allowed)
          ? { policy: parsed.policy, fingerprint: databaseOf(stored)?.fingerprint }
          : undefined;
      this.#known.set(stored, rival);
    }
    return this.#known.get(stored);
  }

  #placeContext(stored: StoredPolicy): PlaceContext {
    const { client, caches, events, log } = this.#options;
    const readers: Record<string, { get(ref: ObjectRef): KubernetesObject | undefined }> = {
      CronJob: caches.cronJobs,
      ServiceAccount: caches.serviceAccounts,
      Role: caches.roles,
      RoleBinding: caches.roleBindings,
    };
    return {
      client,
      ownWrites: this.#ownWrites,
      refusals: this.#refusals,
      contested: this.#contested,
      lookup: <T extends KubernetesObject>({ kind }: Resource<T>, ref: ObjectRef) => {
        const cached = readers[kind]?.get(ref) as T | undefined;
        return cached && this.#ownWrites.newest(cached);
      },
      changed: (verb, { kind, metadata }) => {
        log.info({ policy: keyOf(stored.metadata), kind, name: metadata.name }, verb.toLowerCase());
        if (kind !== 'CronJob') return;
        const words = {
          Created: 'Made',
          Updated: 'Put in line with the policy:',
          Suspended: 'Suspended',
          Deleted: 'Deleted',
        }[verb];
        events.record(stored, 'Normal', `CronJob${verb}`, `${words} CronJob ${metadata.name}`);
      },
      undone: (message) => log.warn({ policy: keyOf(stored.metadata) }, message),
    };
  }

  async #notStarted(key: string, waiting: Job[]): Promise<{ job: string; message: string }[]> {
    const { client, caches, now } = this.#options;
    const found: { job: string; message: string }[] = [];
    for (const job of waiting) {
      const pods = caches.pods.indexed(key).filter((pod) => isControlledBy(pod, job.metadata.uid!));
      const silent = pods.length === 0 && ageOf(job, now()) >= podGraceMs;
      const events = silent ? await eventsOf(client, job) : [];
      const message = whyNotStarted({ job, pods, events }, now());
      if (message) found.push({ job: jobOf(job)!, message });
    }
    return found;
  }
}

/** Whether the policy is being deleted with --cascade=orphan: what was made for it is to stay as it is. */
function isOrphaning({ metadata }: StoredPolicy): boolean {
  return metadata.deletionTimestamp !== undefined && (metadata.finalizers?.includes('orphan') ?? false);
}

/** Why a policy in deletion, which a finalizer keeps, starts nothing; undefined for another. */
function deletionOf({ metadata }: StoredPolicy): Obstacle | undefined {
  if (!metadata.deletionTimestamp) return undefined;
  const message = `No run starts: the policy is being deleted, and waits for its finalizers (${metadata.finalizers?.join(', ')})`;
  return { problem: { reason: 'Deleting', message } };
}

/** Whether two versions of a policy ask for the same; the annotation that suspends is part of that. */
function sameSpec({ metadata: a }: StoredPolicy, { metadata: b }: StoredPolicy): boolean {
  return (
    a.uid === b.uid &&
    a.generation === b.generation &&
    a.annotations?.[suspendAnnotation] === b.annotations?.[suspendAnnotation]
  );
}
