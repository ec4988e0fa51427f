import { runFieldManager, statisticsFieldManager } from '../api/policy.ts';
import { cutText, type RunReport, type RunResult } from '../api/run-result.ts';
import { statisticsJob } from '../api/spec.ts';
import { ApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { applyStatus } from './apply-status.ts';
import type { JobEvidence } from './diagnosis.ts';
import { isRemembered } from './history.ts';
import {
  type CoreEvent,
  isControlledBy,
  type Job,
  type Pod,
  parseStatus,
  resources,
  type StoredPolicy,
} from './objects.ts';
import { explained } from './stopped.ts';
import { replaces, unreportedJob, unreportedRun } from './unreported.ts';

/** Reports runs that could not do so themselves, and why those were stopped that the controller stopped. Reads the evidence anew: a Pod's cache may lag behind its Job's. */
export async function reportForRuns(
  client: Client,
  stored: StoredPolicy,
  jobs: Job[],
  names: string[],
): Promise<StoredPolicy> {
  let policy = stored;
  for (const name of names) {
    if (unexplained(policy, name, jobs)) {
      policy = await client.get(resources.policies, policy.metadata);
      const run = unexplained(policy, name, jobs);
      if (run) policy = await report(client, policy, name, run);
      continue;
    }
    const entry = entryOf(policy, name);
    const job = unreportedJob(jobs, name, entry?.lastRun);
    // A run that came in just now is remembered first: what takes its place could make it as if it had never been.
    if (!job || !isRemembered(entry)) continue;
    const run = unreportedRun(await evidenceOf(client, job));
    // The run may have reported itself just now.
    policy = await client.get(resources.policies, policy.metadata);
    if (replaces(run, entryOf(policy, name)?.lastRun)) policy = await report(client, policy, name, run);
  }
  return policy;
}

const entryOf = (policy: StoredPolicy, name: string) => parseStatus(policy).jobs?.find((entry) => entry.name === name);

/** The newest run of a job with the reason why it was stopped; undefined where that is there, or it was not stopped. */
function unexplained(policy: StoredPolicy, name: string, jobs: Job[]): RunResult | undefined {
  const run = entryOf(policy, name)?.lastRun;
  const better =
    run &&
    explained(
      run,
      jobs.find(({ metadata }) => metadata.name === run.id),
    );
  return better === run ? undefined : better;
}

async function evidenceOf(client: Client, job: Job): Promise<JobEvidence> {
  const pods = await podsOf(client, job);
  return { job, pods, events: pods.length > 0 ? [] : await eventsOf(client, job) };
}

/** A Job's Pods, read anew: a Pod's cache may lag behind its Job's. */
export async function podsOf(client: Client, { metadata }: Job): Promise<Pod[]> {
  const labelSelector = `batch.kubernetes.io/job-name=${metadata.name}`;
  const { items } = await client.list(resources.pods, { namespace: metadata.namespace, labelSelector });
  return items.filter((pod) => isControlledBy(pod, metadata.uid!));
}

/** Others may fill a namespace with Events: no policy of another one waits for them. */
const eventsPatienceMs = 5_000;

/** The Events about a Job, all there is of one whose Pods are refused; none where they cannot be had in a few seconds. */
export async function eventsOf(client: Client, { metadata }: Job): Promise<CoreEvent[]> {
  const fieldSelector = `involvedObject.uid=${metadata.uid}`;
  const signal = AbortSignal.timeout(eventsPatienceMs);
  try {
    return (await client.list(resources.events, { namespace: metadata.namespace, fieldSelector }, { signal })).items;
  } catch (error) {
    if (signal.aborted) return [];
    throw error;
  }
}

/** Writes what the run would have, as the field managers that the run would have used. */
async function report(client: Client, policy: StoredPolicy, name: string, run: RunReport): Promise<StoredPolicy> {
  const { statistics, ...lastRun } = run;
  const write = (status: object) => applyStatus(client, policy, runFieldManager(name), status);
  try {
    if (statistics) await applyStatus(client, policy, statisticsFieldManager, { statistics });
    return await write({ jobs: [{ name, lastRun }] });
  } catch (error) {
    if (!(error instanceof ApiError) || (error.status !== 400 && error.status !== 422)) throw error;
    // What a Pod left must not keep the policy from being worked on: the bare facts instead.
    const message = `The result that the run left was refused (${cutText(error.message, 200)}); see its log`;
    return write({ jobs: [{ name, lastRun: { ...lastRun, operations: [], policy: undefined, message } }] });
  }
}

/** Removes what runs of jobs that are no longer in the spec have left in the status. */
export async function forgetJobs(client: Client, stored: StoredPolicy, names: string[]): Promise<StoredPolicy> {
  const kept = new Set(names.map(runFieldManager));
  if (names.includes(statisticsJob)) kept.add(statisticsFieldManager);
  let policy = stored;
  for (const { manager = '', operation, subresource } of stored.metadata.managedFields ?? []) {
    const ofRuns = manager.startsWith(runFieldManager('')) || manager === statisticsFieldManager;
    // What an update has written would stay, and be written at every reconcile anew.
    if (operation !== 'Apply' || subresource !== 'status' || !ofRuns || kept.has(manager)) continue;
    policy = await applyStatus(client, policy, manager, undefined);
  }
  return policy;
}
