import { milliseconds } from '../api/duration.ts';
import { cutText, results } from '../api/run-result.ts';
import type { Condition, ConditionType, JobStatus } from '../api/status.ts';
import { timestamp } from './objects.ts';
import { overdueAt } from './schedule.ts';

/** Why something does not hold: a reason for programs, a sentence for people. */
export interface Problem {
  reason: string;
  message: string;
}

/** What a reconcile found out. */
export interface Findings {
  generation: number;
  /** Wrong until somebody changes something: the spec, another policy, a foreign object. */
  stalled?: Problem;
  /** Will be tried again by itself. */
  retrying?: Problem;
  /** What others have changed of the CronJobs that makes no difference to a run. */
  remark?: string;
  suspended: boolean;
  suspendedUntil?: string | undefined;
  /** spec.dryRun. */
  dryRun: boolean;
  /** Jobs that run although they should not, and are being stopped. */
  stopping: string[];
  jobs: JobStatus[];
  /** Jobs whose Pod cannot start, with the reason. */
  notStarted: { job: string; message: string }[];
  overdue: { job: string; message: string }[];
}

/** Long enough for any words of the API server's; the schema allows 32,768, and one field too long would lose the status. */
const maxMessageLength = 4096;

type State = Pick<Condition, 'status' | 'reason' | 'message'>;

/** status.conditions; all but Ready and LastRunSucceeded are there only while they hold, as kstatus wants it. */
export function conditions(previous: Condition[], findings: Findings, now: Date): Condition[] {
  const states: [ConditionType, State | undefined][] = [
    ['Ready', ready(findings)],
    ['LastRunSucceeded', lastRunSucceeded(findings)],
    ['Reconciling', findings.retrying && holds({ ...findings.retrying, reason: 'ProgressingWithRetry' })],
    ['Stalled', findings.stalled && holds(findings.stalled)],
    ['IndexAdvised', indexAdvised(findings)],
  ];
  return states.flatMap(([type, state]) => {
    if (!state) return [];
    const before = previous.find((condition) => condition.type === type);
    const lastTransitionTime = before?.status === state.status ? before.lastTransitionTime : timestamp(now);
    const message = cutText(state.message, maxMessageLength);
    return [{ type, ...state, message, observedGeneration: findings.generation, lastTransitionTime }];
  });
}

/** Ready, and what is still under way although it should not be. */
function ready(findings: Findings): State {
  const { message, ...state } = inPlace(findings);
  const { stopping } = findings;
  const words = stopping.length > 0 ? `${message}. Still being stopped: Job ${stopping.join(', ')}` : message;
  return { ...state, message: words };
}

/** The CronJobs are what the spec asks for, however the runs go. */
function inPlace({
  stalled,
  retrying,
  remark,
  suspended,
  suspendedUntil = 'spec.suspend is false again',
  jobs,
}: Findings): State {
  const problem = stalled ?? retrying;
  if (problem) return { status: 'False', ...problem };
  if (suspended) {
    return { status: 'True', reason: 'Suspended', message: `No run starts until ${suspendedUntil}` };
  }
  const names = jobs.map((job) => job.cronJob).join(', ');
  return { status: 'True', reason: 'Scheduled', message: `In place: CronJob ${names}${remark ? `. ${remark}` : ''}` };
}

/** LastRunSucceeded. That a job is overdue is said first, whatever its runs, or another job's, say beside it. */
function lastRunSucceeded(findings: Findings): State {
  const { overdue } = findings;
  const newest = newestRuns(findings);
  if (overdue.length === 0) return newest;
  const also = newest.status === 'False' ? `. ${newest.reason}: ${newest.message}` : '';
  return { status: 'False', reason: 'Overdue', message: sentences(overdue) + also };
}

/** The newest run of every job succeeded; a frequent job must not hide a failing one. */
function newestRuns({ jobs, notStarted, dryRun }: Findings): State {
  if (notStarted.length > 0) return { status: 'False', reason: 'RunnerNotStarted', message: sentences(notStarted) };
  const failed = jobs.flatMap(({ name, lastFailure }) => (lastFailure ? [{ job: name, ...lastFailure }] : []));
  if (failed.length > 0) {
    const worst = results.find((result) => failed.some((run) => run.result === result));
    const words = failed.map(({ job, result, id, message }) => ({
      job,
      message: `${result}: ${message ?? `see the log of Job ${id}`}`,
    }));
    return { status: 'False', reason: `Run${worst}`, message: sentences(words) };
  }
  if (dryRun) return { status: 'Unknown', reason: 'DryRun', message: dryRunMessage(jobs) };
  const waiting = jobs.filter((job) => !job.lastSuccessTime).map((job) => job.name);
  if (waiting.length > 0 || jobs.length === 0) {
    const message = `No run that changes rows has ended yet of: ${waiting.join(', ') || 'any job'}`;
    return { status: 'Unknown', reason: 'NoRunYet', message };
  }
  return { status: 'True', reason: 'RunsSucceeded', message: `The newest run of every job succeeded${untaken(jobs)}` };
}

/** Rows that no run takes however old they get: a policy that matches nothing succeeds every night. */
function untaken(jobs: JobStatus[]): string {
  const words = jobs.flatMap(({ name, lastRun }) =>
    (lastRun?.operations ?? []).flatMap((operation) => [
      ...(operation.uncovered
        ? [`${name}: ${operation.uncovered} ${operation.name} are past their age in a status that is not taken`]
        : []),
      ...(operation.undated
        ? [`${name}: ${operation.undated} ${operation.name} have no time to count their age from`]
        : []),
    ]),
  );
  return words.length === 0 ? '' : `. Never taken: ${words.join('; ')}`;
}

/** Left on by oversight, it must not look like success: how runs that change rows went is what the condition says. */
function dryRunMessage(jobs: JobStatus[]): string {
  const newest = jobs.flatMap((job) => job.lastSuccessTime ?? []).sort((a, b) => Date.parse(b) - Date.parse(a))[0];
  const since = newest === undefined ? 'no run has changed rows yet' : `the newest run that did ended at ${newest}`;
  return `spec.dryRun is true: runs count what is due and change nothing; ${since}. Set it to false to apply the policy`;
}

/** IndexAdvised: what the newest run of any job advises. The policy is no less ready for it, runs only take longer. */
function indexAdvised({ jobs }: Findings): State | undefined {
  const advice = jobs.flatMap((job) => job.lastRun?.indexAdvice ?? []);
  if (advice.length === 0) return undefined;
  // Several jobs can have an operation in common, and count it a little differently.
  const bySql = new Map(advice.map(({ statements, saving }) => [`${statements.join('; ')};`, saving]));
  const message = [...bySql].map(([sql, saving]) => `${saving}. SQL: ${sql}`).join(' ');
  return { status: 'True', reason: 'IndexMissing', message };
}

function holds({ reason, message }: Problem): State {
  return { status: 'True', reason, message };
}

function sentences(parts: { job: string; message: string }[]): string {
  return parts.map(({ job, message }) => `${job}: ${message}`).join('; ');
}

/** When a job is overdue: counted from its last success, or from when the spec has asked for its schedule. */
export function overdueTime(job: JobStatus, maxDuration: string): Date | undefined {
  const { schedule, timeZone, scheduledSince, lastSuccessTime } = job;
  if (!schedule || !timeZone || !scheduledSince) return undefined;
  const since = Math.max(Date.parse(scheduledSince), lastSuccessTime ? Date.parse(lastSuccessTime) : 0);
  return overdueAt(schedule, timeZone, new Date(since), milliseconds(maxDuration));
}

/** The jobs that have not succeeded for two of their periods. */
export function overdueJobs(jobs: JobStatus[], maxDuration: string, now: Date): { job: string; message: string }[] {
  return jobs.flatMap((job) => {
    const due = overdueTime(job, maxDuration);
    if (!due || due > now) return [];
    const since = job.lastSuccessTime
      ? `has not succeeded since ${job.lastSuccessTime}`
      : `has not succeeded since its schedule began at ${job.scheduledSince}`;
    const look = job.cronJob ? `look at CronJob ${job.cronJob} and its Jobs` : 'it has no CronJob, see condition Ready';
    const message = `${since}, for two of its periods; ${look}`;
    return [{ job: job.name, message }];
  });
}
