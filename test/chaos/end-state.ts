import { kind, policyLabel } from '../../src/api/policy.ts';
import { desiredObjects } from '../../src/controller/desired.ts';
import { fieldManager, requestedJobName } from '../../src/controller/names.ts';
import { parsePolicy, parseStatus, resources } from '../../src/controller/objects.ts';
import type { Client } from '../../src/kubernetes/client.ts';
import { applyWouldChange } from '../../src/kubernetes/equality.ts';
import { type KubernetesObject, keyOf, type Resource } from '../../src/kubernetes/types.ts';
import { runnerImage } from '../support/controller.ts';
import { withDeadlineOf } from '../support/controller-objects.ts';

const placed = [
  resources.cronJobs,
  resources.serviceAccounts,
  resources.roles,
  resources.roleBindings,
] as Resource<KubernetesObject>[];

/** Whether something is left of policies that are gone, which the garbage collector has to remove before a policy of that name can be right. */
export async function formerRemain(admin: Client): Promise<boolean> {
  const { items: policies } = await admin.list(resources.policies);
  const uids = new Set(policies.map(({ metadata }) => metadata.uid));
  for (const resource of [...placed, resources.jobs as Resource<KubernetesObject>]) {
    const { items } = await admin.list(resource, { labelSelector: policyLabel });
    const owners = items.flatMap(({ metadata }) => metadata.ownerReferences ?? []);
    if (owners.some((owner) => owner.kind === kind && !uids.has(owner.uid))) return true;
  }
  return false;
}

/**
 * How what exists differs from what the policies ask for, each difference in words: CronJobs, accounts and rights, Jobs of
 * runs that were asked for (`requested`: policy → value), statuses. Nothing may be missing, wrong or there twice.
 */
export async function differences(admin: Client, requested: ReadonlyMap<string, string>): Promise<string[]> {
  const { items: policies } = await admin.list(resources.policies);
  const found: string[] = [];
  const wanted = new Map(placed.map((resource) => [resource, new Map<string, KubernetesObject>()]));
  const jobs = new Set<string>();
  for (const stored of policies) {
    const key = keyOf(stored.metadata);
    const parsed = parsePolicy(stored);
    if ('problem' in parsed) {
      found.push(`policy ${key}: ${parsed.problem}`);
      continue;
    }
    const { cronJobs, serviceAccount, role, roleBinding } = desiredObjects(parsed.policy, { image: runnerImage });
    const objects: KubernetesObject[] = [...cronJobs, serviceAccount, role, roleBinding];
    for (const object of objects) {
      const [, named] = [...wanted].find(([{ kind }]) => kind === object.kind)!;
      named.set(keyOf(object.metadata), object);
    }
    const value = requested.get(key);
    if (value) {
      jobs.add(keyOf({ namespace: parsed.policy.namespace, name: requestedJobName(parsed.policy, 'cleanup', value) }));
    }
    const { observedGeneration, conditions } = parseStatus(stored);
    const ready = conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
    if (!ready || observedGeneration !== stored.metadata.generation) found.push(`policy ${key} is not Ready`);
  }
  for (const [resource, named] of wanted) {
    const { items } = await admin.list(resource, { labelSelector: policyLabel });
    const there = new Map(items.map((item) => [keyOf(item.metadata), item]));
    for (const [key, object] of named) {
      const live = there.get(key);
      if (!live) found.push(`${resource.kind} ${key} is missing`);
      else if (applyWouldChange(withDeadlineOf(live, object), live, { fieldManager }))
        found.push(`${resource.kind} ${key} differs`);
    }
    for (const key of there.keys()) if (!named.has(key)) found.push(`${resource.kind} ${key} is too much`);
  }
  const { items } = await admin.list(resources.jobs, { labelSelector: policyLabel });
  const there = new Set(items.map(({ metadata }) => keyOf(metadata)));
  for (const key of jobs) if (!there.has(key)) found.push(`Job ${key} is missing`);
  for (const key of there) if (!jobs.has(key)) found.push(`Job ${key} is too much`);
  return found;
}
