import { isDeepStrictEqual } from 'node:util';
import type { RetentionPolicyStatus } from '../../src/api/status.ts';
import { desiredObjects, plannedJobs } from '../../src/controller/desired.ts';
import { fieldManager } from '../../src/controller/names.ts';
import {
  type CronJob,
  isControlledBy,
  parsePolicy,
  parseStatus,
  resources,
  type StoredPolicy,
} from '../../src/controller/objects.ts';
import type { Client } from '../../src/kubernetes/client.ts';
import { applyWouldChange } from '../../src/kubernetes/equality.ts';
import { type KubernetesObject, keyOf, type Resource } from '../../src/kubernetes/types.ts';
import { runnerImage } from '../support/controller.ts';
import { withDeadlineOf } from '../support/controller-objects.ts';
import { conditionOf } from '../support/policies.ts';

/** What the controller says of a policy: `Ready`, or the reason why it is Stalled with the words. */
export type Verdict = { reason: 'Ready' } | { reason: string; message: string };

/** What the newest status says; undefined while that is of an older generation, or the controller still tries. */
export function verdictOf(policy: StoredPolicy): Verdict | undefined {
  const status = parseStatus(policy);
  if (status.observedGeneration !== policy.metadata.generation) return undefined;
  if (conditionOf(status, 'Ready')?.status === 'True') return { reason: 'Ready' };
  const stalled = conditionOf(status, 'Stalled');
  if (stalled?.status !== 'True' || !stalled.message) return undefined;
  return { reason: stalled.reason, message: stalled.message };
}

/**
 * Whether what the controller says, but for times, is the same again after somebody has overwritten the status. Whether
 * two policies overlap depends on the other one too.
 */
export function isRestored(before: StoredPolicy, after: StoredPolicy): boolean {
  const [verdict, again] = [verdictOf(before), verdictOf(after)];
  if (verdict?.reason === 'Overlap' || again?.reason === 'Overlap') return true;
  const [old, now] = [parseStatus(before), parseStatus(after)];
  const message = (status: RetentionPolicyStatus) => conditionOf(status, 'Ready')?.message;
  if (!isDeepStrictEqual(verdict, again) || message(old) !== message(now)) return false;
  if (verdict?.reason !== 'Ready') return true;
  if (!isDeepStrictEqual(old.effective, now.effective)) return false;
  const parsed = parsePolicy(after);
  // What is said of other jobs is somebody else's.
  const names = 'policy' in parsed ? plannedJobs(parsed.policy).map(({ name }) => name) : [];
  return names.every((name) => isDeepStrictEqual(inPlace(old, name), inPlace(now, name)));
}

function inPlace({ jobs }: RetentionPolicyStatus, name: string) {
  const { cronJob, schedule, timeZone } = jobs?.find((job) => job.name === name) ?? {};
  return { cronJob, schedule, timeZone };
}

/** How what exists for these policies differs from what they ask for, in words: a Stalled one's CronJobs must be suspended. */
export async function wrongObjects(admin: Client, policies: StoredPolicy[]): Promise<string[]> {
  const kinds = [resources.cronJobs, resources.serviceAccounts, resources.roles, resources.roleBindings];
  const lists = await Promise.all(kinds.map((resource) => admin.list(resource as Resource<KubernetesObject>)));
  const there = new Map(lists.flatMap(({ items }) => items).map((item) => [id(item), item]));
  const cronJobs = Map.groupBy(lists[0]!.items, ownerOf);
  return policies.flatMap((stored) => {
    const key = keyOf(stored.metadata);
    const verdict = verdictOf(stored);
    const own = cronJobs.get(stored.metadata.uid) ?? [];
    if (verdict?.reason !== 'Ready') {
      const running = own.filter((cronJob) => !(cronJob as CronJob).spec?.suspend);
      return running.map(({ metadata }) => `policy ${key} is Stalled, and its CronJob ${metadata.name} runs`);
    }
    const parsed = parsePolicy(stored);
    if ('problem' in parsed) return [`policy ${key} is Ready, and invalid: ${parsed.problem}`];
    const desired = desiredObjects(parsed.policy, { image: runnerImage });
    const objects = [...desired.cronJobs, desired.serviceAccount, desired.role, desired.roleBinding];
    const wanted = new Set(desired.cronJobs.map(id));
    return [
      ...objects.flatMap((object) => difference(object, there.get(id(object)), stored.metadata.uid!)),
      ...own.filter((object) => !wanted.has(id(object))).map((object) => `${id(object)} is too much`),
    ];
  });
}

function difference(object: KubernetesObject, live: KubernetesObject | undefined, uid: string): string[] {
  if (!live) return [`${id(object)} is missing`];
  if (!isControlledBy(live, uid)) return [`${id(object)} is somebody else's`];
  return applyWouldChange(withDeadlineOf(live, object), live, { fieldManager }) ? [`${id(object)} differs`] : [];
}

const id = ({ kind, metadata }: KubernetesObject) => `${kind} ${keyOf(metadata)}`;

const ownerOf = ({ metadata }: KubernetesObject) => metadata.ownerReferences?.find(({ controller }) => controller)?.uid;
