import { ApiError } from '../kubernetes/api-error.ts';
import { notAllowed, nothingAllowed } from './allowed.ts';
import { withoutCatchUp } from './catch-up.ts';
import type { Problem } from './conditions.ts';
import { desiredObjects } from './desired.ts';
import { differences, requestOf } from './job-request.ts';
import type { CronJob, Policy } from './objects.ts';
import { findOverlap, type Overlap, type Rival } from './overlap.ts';
import { type PlaceContext, place, remove, StalledError, suspend, WaitingError } from './place.ts';
import type { RunnerImage } from './pod.ts';
import { whyNeverFires } from './schedule.ts';

/** What placing the policy's objects came to. */
export interface Placement {
  /** The CronJobs that are in place. */
  cronJobs: CronJob[];
  stalled?: Problem;
  retrying?: Problem;
  /** What of them others have changed, though nothing that matters to a run. */
  remark?: string;
  /** In how many milliseconds to look at them again. */
  againMs?: number;
  /** To be thrown at the end, so that the queue tries again. */
  error?: unknown;
}

/** What keeps a policy from starting anything until it goes by itself. */
export interface Obstacle {
  problem: Problem;
  /** To be thrown at the end, so that the queue tries again. */
  error?: unknown;
}

interface Attempt {
  parsed: { policy: Policy } | { problem: string };
  /** Why nothing may be placed for now, whatever the spec says. */
  obstacle?: Obstacle;
  /** By what its runs know its database, and the policies that may overlap with it. */
  fingerprint: string | undefined;
  others: Rival[];
  runner: RunnerImage;
  /** The policy's CronJobs as they are. */
  existing: CronJob[];
  now: Date;
}

/**
 * Places what a policy asks for. One that is Stalled runs nothing until it is repaired: to go on with what the spec no
 * longer says could delete what it now keeps. Throws only where there is no answer, and so no status to write.
 */
export async function placement(
  context: PlaceContext,
  { parsed, obstacle, fingerprint, others, runner, existing, now }: Attempt,
): Promise<Placement> {
  if (obstacle) {
    const { cronJobs, error } = await suspend(context, existing);
    const retrying = error
      ? { ...obstacle.problem, message: stillStart(error, obstacle.problem.message) }
      : obstacle.problem;
    return { cronJobs, retrying, error: obstacle.error ?? error };
  }
  if ('problem' in parsed) return hold(context, existing, { reason: 'InvalidSpec', message: parsed.problem });
  const { policy } = parsed;
  const excess = notAllowed(policy.spec, runner.allowed ?? nothingAllowed);
  if (excess) return hold(context, existing, { reason: 'RunnerNotAllowed', message: excess });
  const never = whyNeverFires(policy.spec);
  if (never) return hold(context, existing, { reason: 'InvalidSchedule', message: never });
  const overlap = findOverlap({ policy, fingerprint }, others);
  if (overlap) return hold(context, existing, { reason: 'Overlap', message: overlapWords(policy, overlap) });

  let remaining = existing;
  const desired = desiredObjects(policy, runner);
  try {
    const names = desired.cronJobs.map((cronJob) => cronJob.metadata.name);
    // Before all that may fail: what the spec no longer has must not run on.
    for (const cronJob of existing) if (!names.includes(cronJob.metadata.name)) await remove(context, cronJob);
    remaining = existing.filter((cronJob) => names.includes(cronJob.metadata.name));
    const cronJobs = desired.cronJobs.map((cronJob) => {
      const live = remaining.find(({ metadata }) => metadata.name === cronJob.metadata.name);
      return withoutCatchUp(cronJob, live, now);
    });
    const { problem: retrying, ...placed } = await place(context, policy, { ...desired, cronJobs });
    return { ...placed, retrying };
  } catch (error) {
    if (error instanceof StalledError) return hold(context, remaining, error.problem);
    const waiting = error instanceof WaitingError ? error.problem : undefined;
    const retrying = waiting ?? answered(error);
    const again = waiting ? undefined : error;
    // Some of them may have been written just now.
    const there = remaining.map((cronJob) => context.ownWrites.newest(cronJob));
    if (policy.spec.suspend) {
      const { cronJobs, error: failure } = await suspend(context, there);
      const message = failure ? stillStart(failure, retrying.message) : retrying.message;
      return { cronJobs, retrying: { ...retrying, message }, error: again };
    }
    const isRefused = waiting !== undefined || [400, 403, 422].includes((error as ApiError).status);
    const superseded = isRefused ? there.filter((live) => isSuperseded(live, desired.cronJobs)) : [];
    if (superseded.length === 0) return { cronJobs: there, retrying, error: again };
    const { cronJobs, error: failure } = await suspend(context, superseded);
    const { reason, message } = retrying;
    const words = failure ? stillStart(failure, message) : `No run starts until this is over: ${message}`;
    const others = there.filter((live) => !superseded.includes(live));
    return { cronJobs: [...cronJobs, ...others], retrying: { reason, message: words }, error: again };
  }
}

/** Whether a CronJob asks its runs for other work than the policy does now: to go on could delete what it now keeps. */
function isSuperseded(live: CronJob, wanted: CronJob[]): boolean {
  const [old, current] = [live, wanted.find(({ metadata }) => metadata.name === live.metadata.name)].map(
    (cronJob) => cronJob && requestOf({ spec: cronJob.spec?.jobTemplate.spec }),
  );
  return !old || !current || differences(old, current).length > 0;
}

/** Policies of other namespaces stay unnamed: whoever reads this one need not know of them. */
function overlapWords(policy: Policy, { with: older, bySecret, operations }: Overlap): string {
  const own = older.namespace === policy.namespace;
  const which = own ? `RetentionPolicy ${older.name}` : 'a RetentionPolicy of another namespace';
  const where = bySecret
    ? 'the same Secret and schema'
    : `the same database and schema, as its status.database.fingerprint says${own ? `, by Secret ${older.spec.database.secretRef.name}` : ''}`;
  return `${which}, which is older, applies ${operations.join(', ')} to ${where}: remove them from one of the two`;
}

/** How the message of a policy that is Stalled begins. */
export const untilRepaired = 'No run starts until this is repaired: ';

async function hold(context: PlaceContext, existing: CronJob[], { reason, message }: Problem): Promise<Placement> {
  const { cronJobs, error } = await suspend(context, existing);
  if (!error) return { cronJobs, stalled: { reason, message: untilRepaired + message } };
  return { cronJobs, stalled: { reason, message: stillStart(error, message) }, error };
}

function stillStart(error: unknown, message: string): string {
  return `Runs still start, since its CronJobs could not be suspended (${answered(error).message}): ${message}`;
}

/** The API server's words; without any there is no way to write a status either. */
function answered(error: unknown): Problem {
  if (!(error instanceof ApiError) || error.status < 400) throw error;
  return { reason: error.reason, message: error.message };
}
