import { runJobAnnotation, runRequestedAtAnnotation } from '../api/policy.ts';
import { cutText } from '../api/run-result.ts';
import { plannedJobs, requestedJob } from './desired.ts';
import { isFinished, type Job, type Policy } from './objects.ts';
import { jobOf, type RunnerImage } from './pod.ts';

/** What becomes of a request for a run now; either way it is handled, and its value goes into the status. */
export type RunNow = { handled: string } & ({ make: Job } | { made: true } | { refused: string });

export interface RunNowInput {
  annotations: Record<string, string> | undefined;
  /** Undefined where the spec is not valid. */
  policy: Policy | undefined;
  /** The policy's Jobs. */
  jobs: Job[];
  lastHandled: string | undefined;
  stalled: boolean;
  runner: RunnerImage;
}

/** Decides about the policy's run-requested-at annotation; undefined without a value that is new. */
export function runNow({ annotations, policy, jobs, lastHandled, stalled, runner }: RunNowInput): RunNow | undefined {
  const value = annotations?.[runRequestedAtAnnotation];
  if (!value) return undefined;
  const handled = cutText(value);
  if (handled === lastHandled) return undefined;
  const refuse = (why: string): RunNow => ({ handled, refused: `No run now for ${value}: ${why}` });
  if (!policy) return refuse('the policy is Stalled; see its conditions');

  const planned = plannedJobs(policy);
  const name = annotations[runJobAnnotation];
  const job = name ? planned.find((candidate) => candidate.name === name) : planned[0];
  if (!job) {
    const known = planned.map((candidate) => candidate.name).join(', ');
    return refuse(`the policy has no job "${name}" (it has: ${known})`);
  }
  const made = requestedJob(policy, job, value, runner);
  if (jobs.some((existing) => existing.metadata.name === made.metadata.name)) return { handled, made: true };
  if (stalled) return refuse('the policy is Stalled; see its conditions');
  if (policy.spec.suspend) return refuse('the policy is suspended');
  const active = jobs.find((candidate) => jobOf(candidate) === job.name && !isFinished(candidate));
  if (active) return refuse(`Job ${active.metadata.name} has not finished; delete it if it cannot start`);
  return { handled, make: made };
}
