import { cutText, type RunResult, worstResult } from '../api/run-result.ts';
import type { JobStatus, RetentionPolicyStatus, RunSummary } from '../api/status.ts';
import { type CronJob, isFinished, type Job, timestamp } from './objects.ts';
import { jobOf } from './pod.ts';
import { nextRun } from './schedule.ts';

const maxSummaryMessage = 256;

export interface JobStatusInput {
  /** Names of the policy's jobs, in its order. */
  names: string[];
  /** What the spec asks for; undefined where it is not valid. */
  wanted: { schedules: Map<string, string>; timeZone: string } | undefined;
  /** No run has to succeed: the policy is suspended, in dry run or in deletion. */
  idle: boolean;
  /** The policy's CronJobs as they are in place, whatever the spec asks for. */
  cronJobs: CronJob[];
  /** The policy's Jobs. */
  jobs: Job[];
  /** status.jobs as it is stored, lastRun of each included. */
  previous: JobStatus[];
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
      ...scheduled(cronJob, previous, input),
      active,
      ...remembered(previous, input),
      lastRun: previous.lastRun,
    });
  });
}

/** When the job is to run by the spec, and when it will by the CronJob that is in place. */
function scheduled(
  cronJob: CronJob | undefined,
  previous: JobStatus,
  { wanted, idle, now }: JobStatusInput,
): Partial<JobStatus> {
  const live = cronJob?.spec && timesOf(cronJob.spec);
  const schedule = wanted?.schedules.get(previous.name);
  const asked = wanted && schedule !== undefined ? { schedule, timeZone: wanted.timeZone } : undefined;
  // By one that never fires, or is refused, nothing would ever be overdue: the former one still counts.
  const counted = asked && (!live || nextRun(asked.schedule, asked.timeZone, now)) ? asked : live;
  if (!counted) return {};
  const next = live && !cronJob?.spec?.suspend ? nextRun(live.schedule, live.timeZone, now) : undefined;
  const unchanged = previous.schedule === counted.schedule && previous.timeZone === counted.timeZone;
  const since = (unchanged && notLater(previous.scheduledSince, now)) || timestamp(now);
  return {
    cronJob: cronJob?.metadata.name,
    ...counted,
    scheduledSince: idle || !asked ? undefined : since,
    nextRun: next && timestamp(next),
  };
}

const timesOf = ({ schedule, timeZone = 'Etc/UTC' }: NonNullable<CronJob['spec']>) => ({ schedule, timeZone });

/** What the newest run says about success: one that was skipped, or only counted, says nothing. */
function remembered(
  { lastRun, lastSuccessTime, lastSuccessId, lastFailure }: JobStatus,
  { jobs, now }: JobStatusInput,
): Pick<JobStatus, 'lastSuccessTime' | 'lastSuccessId' | 'lastFailure'> {
  const success = { lastSuccessTime: notLater(lastSuccessTime, now), lastSuccessId };
  switch (lastRun?.result) {
    case 'Succeeded':
      // Decided once: a clock that was ahead must not move it later and later.
      if (lastSuccessId === lastRun.id && success.lastSuccessTime) return success;
      return { lastSuccessTime: endOf(lastRun, jobs, now), lastSuccessId: lastRun.id };
    case 'Failed':
    case 'Blocked':
    case 'Partial': {
      const { id, result, completionTime, message } = lastRun;
      return { ...success, lastFailure: withoutUndefined({ id, result, completionTime, message }) };
    }
    default:
      return { ...success, lastFailure };
  }
}

/** Whether what the newest run says about success is in the entry beside it. */
export function isRemembered(entry: JobStatus | undefined): boolean {
  const { lastRun, lastSuccessId, lastFailure } = entry ?? {};
  if (!lastRun || lastRun.result === 'Skipped' || lastRun.result === 'DryRun') return true;
  return (lastRun.result === 'Succeeded' ? lastSuccessId : lastFailure?.id) === lastRun.id;
}

/** When a run ended. Its node's clock may be wrong: not before the API server has stored its Job, and not after now. */
function endOf({ id, completionTime }: RunResult, jobs: Job[], now: Date): string {
  const created = jobs.find(({ metadata }) => metadata.name === id)?.metadata.creationTimestamp;
  const early = created !== undefined && Date.parse(completionTime) < Date.parse(created);
  return notLater(early ? timestamp(new Date(created)) : completionTime, now) ?? timestamp(now);
}

/** A time, or now where that is earlier; undefined for a text that is no time. */
function notLater(time: string | undefined, now: Date): string | undefined {
  const at = Date.parse(time ?? '');
  if (Number.isNaN(at)) return undefined;
  return at > now.getTime() ? timestamp(now) : time;
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
