import { isGone } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import type { EventRecorder } from '../kubernetes/events.ts';
import { plannedJobs, templateHash, templateHashAnnotation } from './desired.ts';
import { containerStatus, newestPod } from './diagnosis.ts';
import { differences, requestOf } from './job-request.ts';
import { fieldManager } from './names.ts';
import { isFinished, type Job, type Pod, type Policy, resources, type StoredPolicy } from './objects.ts';
import type { OwnWrites } from './own-writes.ts';
import { jobOf, type PlannedJob, type RunnerImage, runRequest } from './pod.ts';
import { podsOf } from './report.ts';
import { stoppedAnnotation, stoppedBecause } from './stopped.ts';

export interface Wanted {
  /** Undefined where the stored spec is not valid. */
  policy: Policy | undefined;
  stalled: boolean;
  deleting: boolean;
  runner: RunnerImage;
}

/** Why a Job should not start any more: it would do what the policy says no longer. Undefined if it may. */
export function whyOutdated(job: Job, wanted: Wanted): string | undefined {
  const now = plannedNow(job, wanted);
  if (typeof now === 'string') return now;
  const made = job.metadata.annotations?.[templateHashAnnotation];
  return made === templateHash(now.policy, now.planned, wanted.runner)
    ? undefined
    : 'it was made before the policy changed';
}

/**
 * Why a run should not go on: it does what the policy says no longer. Undefined if it may, also where only what it
 * runs in has changed: a controller of another version brings another image, and stops no run.
 */
export function whyStopped(job: Job, wanted: Wanted): string | undefined {
  const now = plannedNow(job, wanted);
  if (typeof now === 'string') return now;
  const made = requestOf(job);
  const changed = made ? differences(made, runRequest(now.policy, now.planned, made.trigger)) : [];
  return changed.length > 0 ? `the policy changed (${changed.join(', ')})` : undefined;
}

/** The policy's job that a Job is for, or why there is none to run. */
function plannedNow(job: Job, { policy, stalled, deleting }: Wanted): { policy: Policy; planned: PlannedJob } | string {
  if (deleting) return 'the policy is being deleted';
  if (!policy || stalled) return 'the policy is Stalled';
  if (policy.spec.suspend) return 'the policy is suspended';
  const planned = plannedJobs(policy).find(({ name }) => name === jobOf(job));
  return planned ? { policy, planned } : 'the policy has that job no longer';
}

/** Whether the Job's runner has run. Of a run that was drained the Pod that takes its place counts. */
export function hasStarted({ status }: Job, pods: Pod[]): boolean {
  const pod = newestPod(pods);
  if (!pod) {
    // Its Pod is gone; the Job ends in a moment.
    const { terminating = 0, succeeded = 0, failed = 0, uncountedTerminatedPods: uncounted } = status ?? {};
    return (
      terminating + succeeded + failed + (uncounted?.failed?.length ?? 0) + (uncounted?.succeeded?.length ?? 0) > 0
    );
  }
  const { running, terminated } = containerStatus(pod)?.state ?? {};
  return (pod.status?.phase ?? 'Pending') !== 'Pending' || running !== undefined || terminated !== undefined;
}

/** What became of the policy's Jobs. */
interface Ended {
  /** Those that are left. */
  jobs: Job[];
  /** The names of those that run and should not: they end in a moment, or could not be stopped, with the reason. */
  stopping: string[];
  /** The first failure. */
  error?: unknown;
}

interface EndContext {
  client: Client;
  events: Pick<EventRecorder, 'record'>;
  ownWrites: Pick<OwnWrites, 'record'>;
}

/**
 * Ends the Jobs that are outdated. One that has not started is deleted, since a Job keeps the Pod template it was made
 * with, and holds up the next run. One that runs is stopped, and stays as evidence.
 */
export async function endOutdated(
  context: EndContext,
  stored: StoredPolicy,
  jobs: Job[],
  wanted: Wanted,
): Promise<Ended> {
  const left: Job[] = [];
  const errors = new Map<Job, unknown>();
  for (const job of jobs) {
    try {
      const rest = isFinished(job) || stoppedBecause(job) ? job : await endIfOutdated(context, stored, job, wanted);
      if (rest) left.push(rest);
    } catch (error) {
      if (isGone(error)) continue;
      left.push(job);
      errors.set(job, error);
    }
  }
  const stopping = left.filter((job) => !isFinished(job) && (stoppedBecause(job) || whyStopped(job, wanted)));
  const names = stopping.map((job) => {
    const error = errors.get(job) as Error | undefined;
    return error ? `${job.metadata.name} (could not be stopped: ${error.message})` : job.metadata.name;
  });
  return { jobs: left, stopping: names, error: [...errors.values()][0] };
}

/** The Job as it is then; undefined where it is deleted. */
async function endIfOutdated(
  { client, events, ownWrites }: EndContext,
  stored: StoredPolicy,
  job: Job,
  wanted: Wanted,
): Promise<Job | undefined> {
  const outdated = whyOutdated(job, wanted);
  if (!outdated) return job;
  const { name, uid } = job.metadata;
  if (!job.status?.ready && !hasStarted(job, await podsOf(client, job))) {
    await client.delete(resources.jobs, job.metadata, { uid, propagationPolicy: 'Background' });
    const message = `Job ${name} had not started, and ${outdated}: deleted. Ask for a run again, or wait for the next time`;
    events.record(stored, 'Normal', 'JobDeleted', message);
    return undefined;
  }
  const why = whyStopped(job, wanted);
  if (!why) return job;
  // The Job controller gives its Pod SIGTERM, and makes no other.
  const patch = { metadata: { uid, annotations: { [stoppedAnnotation]: why } }, spec: { activeDeadlineSeconds: 1 } };
  const stopped = await client.mergePatch(resources.jobs, job.metadata, patch, { fieldManager });
  ownWrites.record(stopped);
  events.record(stored, 'Normal', 'JobStopped', `Stopping Job ${name}: ${why}`);
  return stopped;
}
