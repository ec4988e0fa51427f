import { runFieldManager, statisticsFieldManager } from '../api/policy.ts';
import { statisticsJob } from '../api/spec.ts';
import type { Client } from '../kubernetes/client.ts';
import type { JobEvidence } from './diagnosis.ts';
import {
  type CoreEvent,
  isControlledBy,
  type Job,
  type Pod,
  parseStatus,
  resources,
  type StoredPolicy,
} from './objects.ts';
import { unreportedJob, unreportedRun } from './unreported.ts';

/** Reports runs that could not do so themselves. Reads the evidence anew: a Pod's cache may lag behind its Job's. */
export async function reportForRuns(
  client: Client,
  stored: StoredPolicy,
  jobs: Job[],
  names: string[],
): Promise<StoredPolicy> {
  let policy = stored;
  for (const name of names) {
    if (!unreportedIn(policy, jobs, name)) continue;
    // The run may have reported itself just now.
    policy = await client.get(resources.policies, policy.metadata);
    const job = unreportedIn(policy, jobs, name);
    if (job) policy = await report(client, policy, name, await evidenceOf(client, job));
  }
  return policy;
}

function unreportedIn(policy: StoredPolicy, jobs: Job[], name: string): Job | undefined {
  const entry = parseStatus(policy).jobs?.find((candidate) => candidate.name === name);
  return unreportedJob(jobs, name, entry?.lastRun);
}

async function evidenceOf(client: Client, job: Job): Promise<JobEvidence> {
  const { namespace, name, uid } = job.metadata;
  const labelSelector = `batch.kubernetes.io/job-name=${name}`;
  const { items } = await client.list(resources.pods, { namespace, labelSelector });
  const pods: Pod[] = items.filter((pod) => isControlledBy(pod, uid!));
  return { job, pods, events: pods.length > 0 ? [] : await eventsOf(client, job) };
}

/** The Events about a Job: all there is of one whose Pods are refused. */
export async function eventsOf(client: Client, { metadata }: Job): Promise<CoreEvent[]> {
  const fieldSelector = `involvedObject.uid=${metadata.uid}`;
  return (await client.list(resources.events, { namespace: metadata.namespace, fieldSelector })).items;
}

/** Writes what the run would have, as the field managers that the run would have used. */
async function report(client: Client, policy: StoredPolicy, name: string, evidence: JobEvidence) {
  const { statistics, ...lastRun } = unreportedRun(evidence);
  if (statistics) await applyAs(client, policy, statisticsFieldManager, { statistics });
  return applyAs(client, policy, runFieldManager(name), { jobs: [{ name, lastRun }] });
}

/** Removes what runs of jobs that are no longer in the spec have left in the status. */
export async function forgetJobs(client: Client, stored: StoredPolicy, names: string[]): Promise<StoredPolicy> {
  const kept = new Set(names.map(runFieldManager));
  if (names.includes(statisticsJob)) kept.add(statisticsFieldManager);
  let policy = stored;
  for (const { manager = '', subresource } of stored.metadata.managedFields ?? []) {
    const ofRuns = manager.startsWith(runFieldManager('')) || manager === statisticsFieldManager;
    if (subresource !== 'status' || !ofRuns || kept.has(manager)) continue;
    policy = await applyAs(client, policy, manager, undefined);
  }
  return policy;
}

function applyAs(
  client: Client,
  policy: StoredPolicy,
  fieldManager: string,
  status: object | undefined,
): Promise<StoredPolicy> {
  const { namespace, name, uid } = policy.metadata;
  return client.apply(
    resources.policies,
    { metadata: { namespace, name, uid }, status },
    { fieldManager, force: true, subresource: 'status' },
  );
}
