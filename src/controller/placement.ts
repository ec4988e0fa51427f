import { ApiError } from '../kubernetes/api-error.ts';
import { notAllowed, nothingAllowed } from './allowed.ts';
import { withoutCatchUp } from './catch-up.ts';
import type { Problem } from './conditions.ts';
import { desiredObjects } from './desired.ts';
import type { CronJob, Policy } from './objects.ts';
import { findOverlap } from './overlap.ts';
import { type PlaceContext, place, remove, StalledError, suspend, WaitingError } from './place.ts';
import type { RunnerImage } from './pod.ts';

/** What placing the policy's objects came to. */
export interface Placement {
  /** The CronJobs that are in place. */
  cronJobs: CronJob[];
  stalled?: Problem;
  retrying?: Problem;
  /** To be thrown at the end, so that the queue tries again. */
  error?: unknown;
}

interface Attempt {
  parsed: { policy: Policy } | { problem: string };
  /** The policies that may overlap with it. */
  others: Policy[];
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
  { parsed, others, runner, existing, now }: Attempt,
): Promise<Placement> {
  if ('problem' in parsed) return hold(context, existing, { reason: 'InvalidSpec', message: parsed.problem });
  const { policy } = parsed;
  const excess = notAllowed(policy.spec, runner.allowed ?? nothingAllowed);
  if (excess) return hold(context, existing, { reason: 'RunnerNotAllowed', message: excess });
  const overlap = findOverlap(policy, others);
  if (overlap) {
    const message = `RetentionPolicy ${overlap.with}, which is older, applies ${overlap.operations.join(', ')} to the same Secret and schema: remove them from one of the two`;
    return hold(context, existing, { reason: 'Overlap', message });
  }

  let remaining = existing;
  try {
    const desired = desiredObjects(policy, runner);
    const names = desired.cronJobs.map((cronJob) => cronJob.metadata.name);
    // Before all that may fail: what the spec no longer has must not run on.
    for (const cronJob of existing) if (!names.includes(cronJob.metadata.name)) await remove(context, cronJob);
    remaining = existing.filter((cronJob) => names.includes(cronJob.metadata.name));
    const cronJobs = desired.cronJobs.map((cronJob) => {
      const live = remaining.find(({ metadata }) => metadata.name === cronJob.metadata.name);
      return withoutCatchUp(cronJob, live, now);
    });
    return { cronJobs: await place(context, policy, { ...desired, cronJobs }) };
  } catch (error) {
    if (error instanceof StalledError) return hold(context, remaining, error.problem);
    const waiting = error instanceof WaitingError ? error.problem : undefined;
    const retrying = waiting ?? answered(error);
    const cronJobs = policy.spec.suspend ? (await suspend(context, remaining)).cronJobs : remaining;
    return { cronJobs, retrying, error: waiting ? undefined : error };
  }
}

async function hold(context: PlaceContext, existing: CronJob[], { reason, message }: Problem): Promise<Placement> {
  const { cronJobs, error } = await suspend(context, existing);
  if (!error) return { cronJobs, stalled: { reason, message: `No run starts until this is repaired: ${message}` } };
  const words = `Runs still start, since its CronJobs could not be suspended (${answered(error).message}): ${message}`;
  return { cronJobs, stalled: { reason, message: words }, error };
}

/** The API server's words; without any there is no way to write a status either. */
function answered(error: unknown): Problem {
  if (!(error instanceof ApiError) || error.status < 400) throw error;
  return { reason: error.reason, message: error.message };
}
