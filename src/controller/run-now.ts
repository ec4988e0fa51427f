import { z } from 'zod';
import { runJobAnnotation, runRequestedAtAnnotation } from '../api/policy.ts';
import { cutText, printable } from '../api/run-result.ts';
import { ApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { statedDifferences } from '../kubernetes/equality.ts';
import type { EventRecorder } from '../kubernetes/events.ts';
import { plannedJobs, requestedJob } from './desired.ts';
import { changesRuns, namesOf } from './foreign-changes.ts';
import { fieldManager } from './names.ts';
import { isFinished, type Job, type Policy, resources, type StoredPolicy } from './objects.ts';
import { jobOf, type RunnerImage } from './pod.ts';

/** A request that is older when it is first seen is of another time: of a backup, of git, of a controller that was away. */
const oldestMinutes = 10;
/** How far the clock of whoever asks may be ahead of the controller's. */
const aheadMinutes = 5;

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
  /** The policy's creationTimestamp. */
  createdAt: string | undefined;
  now: Date;
}

/** Decides about the policy's run-requested-at annotation; undefined without a value that is new. */
export function runNow({
  annotations,
  policy,
  jobs,
  lastHandled,
  stalled,
  runner,
  createdAt,
  now,
}: RunNowInput): RunNow | undefined {
  const value = annotations?.[runRequestedAtAnnotation];
  if (!value) return undefined;
  const handled = cutText(value);
  if (handled === lastHandled) return undefined;
  const refuse = (why: string): RunNow => ({ handled, refused: printable(`No run now for ${value}: ${why}`) });
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
  const untimely = whyUntimely(value, createdAt, now);
  if (untimely) return refuse(untimely);
  if (stalled) return refuse('the policy is Stalled; see its conditions');
  if (policy.spec.suspend) return refuse('the policy is suspended');
  const active = jobs.find((candidate) => jobOf(candidate) === job.name && !isFinished(candidate));
  if (active) return refuse(`Job ${active.metadata.name} has not finished; delete it if it cannot start`);
  return { handled, make: made };
}

/** Why a request of this time is not one for now, such as one that came with a restored or a copied policy. */
function whyUntimely(value: string, createdAt: string | undefined, now: Date): string | undefined {
  if (!z.iso.datetime({ offset: true }).safeParse(value).success) {
    return 'the value must be a time with its zone, as `date -Is` writes it';
  }
  const at = Date.parse(value);
  if (createdAt && at < Date.parse(createdAt)) {
    return `it is older than the policy itself, which was created at ${createdAt}; ask again if a run is wanted`;
  }
  if (at < now.getTime() - oldestMinutes * 60_000) {
    return `it is older than ${oldestMinutes} minutes; ask again if a run is wanted`;
  }
  if (at > now.getTime() + aheadMinutes * 60_000) {
    return `it is more than ${aheadMinutes} minutes in the future; check the clock of the machine that set it`;
  }
  return undefined;
}

/** Makes the Job that was asked for; `announce` is for when the status says that the request is handled. */
export async function handleRequest(
  { client, events }: { client: Client; events: Pick<EventRecorder, 'record'> },
  stored: StoredPolicy,
  input: Omit<RunNowInput, 'annotations' | 'createdAt'>,
): Promise<{ handled: string; announce(): void } | undefined> {
  const decision = runNow({
    annotations: stored.metadata.annotations,
    createdAt: stored.metadata.creationTimestamp,
    ...input,
  });
  if (!decision) return undefined;
  const { handled } = decision;
  const refused = (why: string) => ({
    handled,
    announce: () => events.record(stored, 'Warning', 'RunRequestRefused', why),
  });
  if ('refused' in decision) return refused(decision.refused);
  if (!('make' in decision)) return { handled, announce: () => {} };
  let changed: string | undefined;
  try {
    const job = await client.create(resources.jobs, decision.make, { fieldManager });
    const { metadata, spec } = decision.make;
    const differences = [...statedDifferences({ metadata, spec }, job)].filter(changesRuns);
    if (differences.length > 0) changed = namesOf({ object: decision.make, differences });
  } catch (error) {
    if (!(error instanceof ApiError) || error.status < 400 || error.status >= 500) throw error;
    if (error.status !== 409) return refused(printable(`No run now: ${error.message}`));
  }
  const made = `Made Job ${decision.make.metadata.name}, as asked for`;
  return {
    handled,
    announce: () => {
      if (changed) events.record(stored, 'Warning', 'RunRequested', `${made}; changed by admission: ${changed}`);
      else events.record(stored, 'Normal', 'RunRequested', made);
    },
  };
}
