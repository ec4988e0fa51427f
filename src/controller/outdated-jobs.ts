import { ApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import type { EventRecorder } from '../kubernetes/events.ts';
import { plannedJobs, templateHash, templateHashAnnotation } from './desired.ts';
import { containerStatus, newestPod } from './diagnosis.ts';
import { isFinished, type Job, type Pod, type Policy, resources, type StoredPolicy } from './objects.ts';
import { jobOf, type RunnerImage } from './pod.ts';
import { podsOf } from './report.ts';

export interface Wanted {
  /** Undefined where the stored spec is not valid. */
  policy: Policy | undefined;
  stalled: boolean;
  runner: RunnerImage;
}

/** Why a Job should not start any more: it would do what the policy says no longer. Undefined if it may. */
export function whyOutdated(job: Job, { policy, stalled, runner }: Wanted): string | undefined {
  if (!policy || stalled) return 'the policy is Stalled';
  if (policy.spec.suspend) return 'the policy is suspended';
  const planned = plannedJobs(policy).find(({ name }) => name === jobOf(job));
  if (!planned) return 'the policy has that job no longer';
  const made = job.metadata.annotations?.[templateHashAnnotation];
  return made === templateHash(policy, planned, runner) ? undefined : 'it was made before the policy changed';
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

/**
 * Deletes the Jobs that have not started and are outdated, since a Job keeps the Pod template it was made with, and
 * holds up the next run. Returns the Jobs that are left, and the first failure.
 */
export async function deleteOutdated(
  { client, events }: { client: Client; events: Pick<EventRecorder, 'record'> },
  stored: StoredPolicy,
  jobs: Job[],
  wanted: Wanted,
): Promise<{ jobs: Job[]; error?: unknown }> {
  const left: Job[] = [];
  const errors: unknown[] = [];
  for (const job of jobs) {
    const why = isFinished(job) || job.status?.ready ? undefined : whyOutdated(job, wanted);
    if (!why) {
      left.push(job);
      continue;
    }
    const { name, uid } = job.metadata;
    try {
      if (hasStarted(job, await podsOf(client, job))) {
        left.push(job);
        continue;
      }
      await client.delete(resources.jobs, job.metadata, { uid, propagationPolicy: 'Background' });
      const message = `Job ${name} had not started, and ${why}: deleted. Ask for a run again, or wait for the next time`;
      events.record(stored, 'Normal', 'JobDeleted', message);
    } catch (error) {
      // Gone, or another of that name by now.
      if (error instanceof ApiError && (error.status === 404 || error.status === 409)) continue;
      left.push(job);
      errors.push(error);
    }
  }
  return { jobs: left, error: errors[0] };
}
