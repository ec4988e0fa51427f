import { z } from 'zod';
import { group, kind, policyLabel } from '../api/policy.ts';
import { ApiError, isGone, unlessNotFound } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import type { EventRecorder } from '../kubernetes/events.ts';
import type { KubernetesObject, OwnerReference, Resource } from '../kubernetes/types.ts';
import { requestJson } from './job-request.ts';
import { type CronJob, isFinished, type Job, resources, type StoredPolicy } from './objects.ts';
import type { Obstacle } from './placement.ts';
import { managedBy, managedByLabel } from './pod.ts';

/** What every version asks of a runner. */
const anyRequest = z.object({ policy: z.object({ namespace: z.string(), name: z.string() }) });

/** Whether an object's labels say that the controller made it for this policy; whoever may make it may set them. */
function hasOurLabels({ metadata }: KubernetesObject, policy: string): boolean {
  const { labels = {} } = metadata;
  return labels[policyLabel] === policy && labels[managedByLabel] === managedBy;
}

/** Whether an owner is a policy of this name that is no more. */
function isFormer(owner: OwnerReference, { metadata }: StoredPolicy): boolean {
  const ofOurs = owner.kind === kind && owner.apiVersion.startsWith(`${group}/`);
  return ofOurs && owner.name === metadata.name && owner.uid !== metadata.uid;
}

/** Whether it belongs to nobody, and runs for a policy of this name: ours by its labels, and by what it asks of a runner. */
function isOrphan(object: CronJob | Job, stored: StoredPolicy): boolean {
  const { name, namespace } = stored.metadata;
  const { ownerReferences: owners = [], deletionTimestamp } = object.metadata;
  // One that is too large to be kept is none of ours.
  if (
    !object.spec ||
    deletionTimestamp ||
    !hasOurLabels(object, name) ||
    !owners.every((owner) => isFormer(owner, stored))
  )
    return false;
  const template = 'jobTemplate' in object.spec ? object.spec.jobTemplate.spec?.template : object.spec?.template;
  const asked = anyRequest.safeParse(requestJson(template)).data?.policy;
  return asked?.name === name && asked.namespace === namespace;
}

/** Whether an account, or its rights, that belong to nobody can become this policy's: an apply leaves nothing in them that gives more. */
export function isAdoptable(live: KubernetesObject, wanted: KubernetesObject): boolean {
  if (live.kind === 'CronJob' || live.metadata.ownerReferences?.length) return false;
  const roleRef = (object: KubernetesObject) => Object.entries((object as { roleRef?: object }).roleRef ?? {}).sort();
  const sameRole = JSON.stringify(roleRef(live)) === JSON.stringify(roleRef(wanted));
  return sameRole && hasOurLabels(live, wanted.metadata.labels?.[policyLabel] ?? '');
}

/**
 * Deletes the CronJobs and the Jobs that run which a former policy of this name left, or somebody copied: they would
 * continue by what they were created with. They are not adopted, because an apply would leave what others put into their Pods.
 * The obstacle is one that could not be deleted.
 */
export async function deleteOrphans(
  { client, events }: { client: Client; events: Pick<EventRecorder, 'record'> },
  stored: StoredPolicy,
  { cronJobs, jobs }: { cronJobs: CronJob[]; jobs: Job[] },
): Promise<Obstacle | undefined> {
  const found: [Resource, CronJob | Job][] = [
    ...cronJobs.map((cronJob): [Resource, CronJob] => [resources.cronJobs as unknown as Resource, cronJob]),
    ...jobs
      .filter((job) => !isFinished(job))
      .map((job): [Resource, Job] => [resources.jobs as unknown as Resource, job]),
  ];
  const orphans = found.filter(([, object]) => isOrphan(object, stored));
  if (orphans.length === 0) return undefined;
  // To a cache that lags behind, what belongs to the policy that is there now belongs to nobody.
  const current = await client.get(resources.policies, stored.metadata).catch(unlessNotFound);
  if (current?.metadata.uid !== stored.metadata.uid) return undefined;

  let obstacle: Obstacle | undefined;
  for (const [resource, { metadata }] of orphans) {
    const which = `${resource.kind} ${metadata.name}`;
    try {
      await client.delete(resource, metadata, { uid: metadata.uid });
      events.record(stored, 'Normal', 'OrphanDeleted', `Deleted ${which}, which ran for a former policy of this name`);
    } catch (error) {
      if (isGone(error)) continue;
      if (!(error instanceof ApiError) || error.status < 400) throw error;
      const message = `Runs of a former policy of this name still start: ${which} could not be deleted (${error.message})`;
      obstacle ??= { problem: { reason: error.reason, message }, error };
    }
  }
  return obstacle;
}
