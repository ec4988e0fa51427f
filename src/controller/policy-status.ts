import { effectiveRetention } from '../api/effective.ts';
import type { Database } from '../api/run-result.ts';
import type { RetentionPolicyStatus } from '../api/status.ts';
import { appliedValues } from './applied.ts';
import { conditions, overdueJobs, type Problem } from './conditions.ts';
import { plannedJobs } from './desired.ts';
import { earliestNextRun, jobStatuses, lastRun, mergeRuns } from './history.ts';
import type { CronJob, Job, Policy } from './objects.ts';
import { jobOf } from './pod.ts';
import { shortMessage } from './short-message.ts';

/** What a reconcile knows when it ends. */
export interface Outcome {
  /** Undefined where the stored spec is not valid. */
  policy: Policy | undefined;
  generation: number;
  /** The status as it is stored. */
  stored: RetentionPolicyStatus;
  /** The policy's CronJobs and Jobs as they are now. */
  cronJobs: CronJob[];
  jobs: Job[];
  stalled?: Problem;
  retrying?: Problem;
  deleting: boolean;
  remark?: string;
  stopping: string[];
  notStarted: { job: string; message: string }[];
  lastHandledRunRequest: string | undefined;
  database: Database | undefined;
  now: Date;
}

/** The names of the policy's jobs: those of its spec, and those whose CronJob is still there because the spec is refused. */
export function jobNames(policy: Policy | undefined, cronJobs: CronJob[]): string[] {
  const planned = policy ? plannedJobs(policy).map((job) => job.name) : [];
  return [...new Set([...planned, ...cronJobs.flatMap((cronJob) => jobOf(cronJob) ?? [])])];
}

/** The status that a policy should have, but for what runs write: jobs[].lastRun and statistics. */
export function policyStatus(outcome: Outcome): RetentionPolicyStatus {
  const { policy, generation, stored, cronJobs, jobs: liveJobs, now } = outcome;
  const { stalled, retrying, remark, deleting, stopping, notStarted, lastHandledRunRequest } = outcome;
  const { suspend: suspended = false, dryRun = false } = policy?.spec ?? {};
  const idle = deleting || suspended || dryRun;
  const wanted = policy && {
    schedules: new Map(plannedJobs(policy).map(({ name, schedule }) => [name, schedule])),
    timeZone: policy.spec.timeZone,
  };
  const names = jobNames(policy, cronJobs);
  const jobs = jobStatuses({ names, wanted, idle, cronJobs, jobs: liveJobs, previous: stored.jobs ?? [], now });
  const runs = mergeRuns(stored.runs ?? [], jobs, policy?.spec.history.runs ?? 50);
  const overdue = policy ? overdueJobs(jobs, policy.spec.limits.maxDuration, now) : [];
  const findings = {
    generation,
    stalled,
    retrying,
    remark,
    suspended,
    dryRun,
    suspendedUntil: policy?.suspendedUntil,
    stopping,
    jobs,
    notStarted,
    overdue,
  };
  const status: RetentionPolicyStatus = {
    observedGeneration: generation,
    suspended: suspended && cronJobs.every(({ spec }) => spec?.suspend),
    conditions: conditions(stored.conditions ?? [], findings, now),
    // The values in force: what is not placed does not count yet.
    effective: policy && !stalled && !retrying ? effectiveRetention(policy.spec) : stored.effective,
    applied: appliedValues(stored),
    // An empty list is left out: the API server keeps none either.
    jobs: jobs.length > 0 ? jobs.map(({ lastRun: _, ...entry }) => entry) : undefined,
    nextRun: earliestNextRun(jobs),
    lastRun: lastRun(jobs),
    runs: runs.length > 0 ? runs : undefined,
    lastHandledRunRequest,
    database: outcome.database,
  };
  return { ...status, message: shortMessage(status) };
}
