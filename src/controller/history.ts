import { cutText, type RunResult, worstResult } from '../api/run-result.ts';
import type { JobStatus, RetentionPolicyStatus, RunSummary } from '../api/status.ts';
import { type CronJob, isFinished, type Job, timestamp } from './objects.ts';
import { jobOf } from './pod.ts';
import { nextRun } from './schedule.ts';

const maxSummaryMessage = 256;

export interface JobStatusInput {
  /** Names of the policy's jobs, in its order. */
  names: string[];
  /** The policy's CronJobs as they are in place, whatever the spec asks for. */
  cronJobs: CronJob[];
  /** The policy's Jobs. */
  jobs: Job[];
  /** status.jobs as it is stored, lastRun of each included. */
  previous: JobStatus[];
  dryRun: boolean;
  now: Date;
}

/** status.jobs: what is in place for each job, and what of its runs is remembered. */
export function jobStatuses(input: JobStatusInput): JobStatus[] {
  return input.names.map((name) => {
    const previous = input.previous.find((entry) => entry.name === name) ?? { name };
    const cronJob = input.cronJobs.find((candidate) => jobOf(candidate) === name);
    const active = input.jobs.filter((job) => jobOf(job) === name && !isFinished(job)).length;
    return withoutUndefined({
      name,
      ...inPlace(cronJob, previous, input),
      active,
      ...remembered(previous),
      lastRun: previous.lastRun,
    });
  });
}

function inPlace(
  cronJob: CronJob | undefined,
  previous: JobStatus,
  { dryRun, now }: JobStatusInput,
): Partial<JobStatus> {
  if (!cronJob?.spec) return {};
  const { schedule, timeZone = 'Etc/UTC', suspend } = cronJob.spec;
  const shown = { cronJob: cronJob.metadata.name, schedule, timeZone };
  if (suspend) return shown;
  const next = nextRun(schedule, timeZone, now);
  const unchanged = previous.schedule === schedule && previous.timeZone === timeZone;
  const since = (unchanged && previous.scheduledSince) || timestamp(now);
  return { ...shown, scheduledSince: dryRun ? undefined : since, nextRun: next && timestamp(next) };
}

/** What the newest run says about success: one that was skipped, or only counted, says nothing. */
function remembered({
  lastRun,
  lastSuccessTime,
  lastFailure,
}: JobStatus): Pick<JobStatus, 'lastSuccessTime' | 'lastFailure'> {
  switch (lastRun?.result) {
    case 'Succeeded':
      return { lastSuccessTime: lastRun.completionTime };
    case 'Failed':
    case 'Blocked':
    case 'Partial': {
      const { id, result, completionTime, message } = lastRun;
      return { lastSuccessTime, lastFailure: withoutUndefined({ id, result, completionTime, message }) };
    }
    default:
      return { lastSuccessTime, lastFailure };
  }
}

/** status.runs: the stored ones and those that ended since, newest first, each once, at most `limit`. */
export function mergeRuns(previous: RunSummary[], jobs: JobStatus[], limit: number): RunSummary[] {
  const byId = new Map(previous.map((run) => [run.id, run]));
  for (const { lastRun } of jobs) if (lastRun) byId.set(lastRun.id, summary(lastRun));
  return [...byId.values()].sort(newestFirst).slice(0, limit);
}

function summary({ id, job, startTime, completionTime, result, rows, message }: RunResult): RunSummary {
  const cut = message === undefined ? undefined : cutText(message, maxSummaryMessage);
  return withoutUndefined({ id, job, startTime, completionTime, result, rows, message: cut });
}

/** status.lastRun: the run that ended last, with the worst of all jobs' newest results, and that one's words. */
export function lastRun(jobs: JobStatus[]): RetentionPolicyStatus['lastRun'] {
  const runs = jobs.flatMap((job) => job.lastRun ?? []).sort(newestFirst);
  const newest = runs[0];
  const result = worstResult(runs.map((run) => run.result));
  if (!newest || !result) return undefined;
  const { id, job, startTime, completionTime, durationSeconds, rows } = newest;
  const worst = runs.find((run) => run.result === result)!;
  const words = worst === newest ? newest.message : `${worst.job}: ${worst.message ?? worst.result}`;
  const message = words === undefined ? undefined : cutText(words);
  return withoutUndefined({ id, job, startTime, completionTime, durationSeconds, rows, result, message });
}

/** status.nextRun: the earliest of the jobs'. */
export function earliestNextRun(jobs: JobStatus[]): string | undefined {
  return jobs.flatMap((job) => job.nextRun ?? []).sort()[0];
}

function newestFirst(a: { completionTime: string }, b: { completionTime: string }): number {
  return Date.parse(b.completionTime) - Date.parse(a.completionTime);
}

/** An absent field is not sent, and equals one that is not there. */
function withoutUndefined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}
