import type { RetentionPolicyStatus } from '../api/status.ts';
import { overdueTime } from './conditions.ts';
import type { Job, Policy } from './objects.ts';

/** How long the Job controller may take to make a Pod; then the Job's Events are read. */
export const podGraceMs = 5_000;
const longestWaitMs = 300_000;
/** What is in the way carries no label of ours, so that no watch tells when it has gone. */
const nameConflictMs = 60_000;
/** No watch tells either when an admission policy or a quota no longer denies: looked at after as long as it has lasted. */
const deniedMs = { least: 5_000, most: 30_000 };
/** Nor does one tell when the garbage collector is done. */
const formerPolicyMs = 2_000;

/** The age of a Job in milliseconds. */
export function ageOf(job: Job, now: Date): number {
  return now.getTime() - Date.parse(job.metadata.creationTimestamp ?? '');
}

/**
 * When to look at a policy again though nothing changes: to show its next run, to see that a job is overdue, to see
 * whether a name is free now, and to ask why `waiting` Jobs, which do not run yet, wait.
 */
export function requeueAfterMs(
  status: RetentionPolicyStatus,
  policy: Policy | undefined,
  waiting: Job[],
  now: Date,
): number | undefined {
  const waits: number[] = waiting.map((job) => Math.min(Math.max(podGraceMs, ageOf(job, now)), longestWaitMs));
  const until = (time: Date) => {
    // A timer may fire a little early.
    if (time > now) waits.push(time.getTime() - now.getTime() + 1_000);
  };
  if (status.conditions?.some(({ reason }) => reason === 'NameConflict')) waits.push(nameConflictMs);
  if (status.conditions?.some(({ reason }) => reason === 'FormerPolicyRemains')) waits.push(formerPolicyMs);
  const denied = status.conditions?.find(({ reason }) => reason === 'AdmissionDenied' || reason === 'QuotaExceeded');
  if (denied) {
    const lastedMs = now.getTime() - Date.parse(denied.lastTransitionTime);
    waits.push(Math.min(Math.max(deniedMs.least, lastedMs), deniedMs.most));
  }
  if (status.nextRun) until(new Date(status.nextRun));
  for (const job of status.jobs ?? []) {
    const overdue = policy && overdueTime(job, policy.spec.limits.maxDuration);
    if (overdue) until(overdue);
  }
  return waits.length > 0 ? Math.min(...waits) : undefined;
}
