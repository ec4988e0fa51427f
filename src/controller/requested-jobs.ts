import { isGone } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { finishedAs, isControlledBy, type Job, type Policy, resources } from './objects.ts';
import { jobOf } from './pod.ts';

/** The finished Jobs of requests beyond spec.history, the oldest; CronJobs clean up behind themselves. */
export function surplusJobs({ uid, spec }: Pick<Policy, 'uid' | 'spec'>, jobs: Job[]): Job[] {
  const { successfulJobs, failedJobs } = spec.history;
  const finished = jobs.flatMap((job) => {
    const how = isControlledBy(job, uid) ? finishedAs(job) : undefined;
    return how ? [{ job, type: how.type, at: Date.parse(String(how.lastTransitionTime)) }] : [];
  });
  const groups = Map.groupBy(finished, ({ job, type }) => `${type} ${jobOf(job)}`);
  return [...groups.values()].flatMap((group) => {
    const kept = group[0]!.type === 'Complete' ? successfulJobs : failedJobs;
    return group
      .sort((one, other) => other.at - one.at)
      .slice(kept)
      .map(({ job }) => job);
  });
}

/** Deletes these Jobs with their Pods. */
export async function deleteJobs(client: Client, jobs: Job[]): Promise<void> {
  for (const { metadata } of jobs) {
    try {
      await client.delete(resources.jobs, metadata, { uid: metadata.uid, propagationPolicy: 'Background' });
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
}
