import { isDeepStrictEqual } from 'node:util';
import { conditionTypes, type RetentionPolicyStatus, statusSchema } from '../api/status.ts';
import { ApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { applyWouldChange } from '../kubernetes/equality.ts';
import { applyStatus } from './apply-status.ts';
import { fieldManager } from './names.ts';
import { parseStatus, resources, type StoredPolicy } from './objects.ts';

/** Of a status what two controllers would agree on if they found the same. */
export function statusContent({ conditions, ...status }: RetentionPolicyStatus): object {
  return { ...status, conditions: conditions?.map(({ lastTransitionTime: _, ...condition }) => condition) };
}

/** Whether an apply would change the controller's part of a policy's status; never where it is patched, since parts cannot be read. */
export function statusDiffers(stored: StoredPolicy, status: RetentionPolicyStatus): boolean {
  return (
    !stored.omitted &&
    applyWouldChange(configurationOf(stored, status), stored, { fieldManager, subresource: 'status' })
  );
}

function configurationOf({ metadata: { namespace, name, uid } }: StoredPolicy, status: RetentionPolicyStatus) {
  return { metadata: { namespace, name, uid }, status };
}

/** Writes the controller's part of a policy's status, where that differs; the policy as it is then. */
export async function writeStatus(
  client: Client,
  stored: StoredPolicy,
  status: RetentionPolicyStatus,
): Promise<StoredPolicy> {
  if (stored.omitted) return patchStatus(client, stored, status);
  if (!statusDiffers(stored, status)) return stored;
  const { uid, resourceVersion } = stored.metadata;
  const write = () => applyStatus(client, stored, fieldManager, status);
  try {
    return await write();
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 422) throw error;
    // Of a condition of ours of which another manager has a part, that part would be left, and the whole be invalid.
    const there = parseStatus(stored).conditions ?? [];
    const stated = new Set(status.conditions?.map(({ type }) => type));
    const conditions = there.filter(
      ({ type }) => stated.has(type) || !(conditionTypes as readonly string[]).includes(type),
    );
    if (conditions.length === there.length) throw error;
    const patch = { metadata: { uid, resourceVersion }, status: { conditions } };
    await client.mergePatch(resources.policies, stored.metadata, patch, { fieldManager, subresource: 'status' });
    return write();
  }
}

/**
 * Writes the status of a policy of which parts cannot be read: an API server takes up to 17 s for an apply to what somebody has
 * nested 9,900 deep, and one for a patch. What others own of the lists is kept as it was read.
 */
async function patchStatus(client: Client, stored: StoredPolicy, status: RetentionPolicyStatus): Promise<StoredPolicy> {
  const { uid, resourceVersion } = stored.metadata;
  const before = parseStatus(stored);
  const foreign = before.conditions?.filter(({ type }) => !(conditionTypes as readonly string[]).includes(type)) ?? [];
  const lastRunOf = (job: string) => before.jobs?.find(({ name }) => name === job)?.lastRun;
  const wanted = {
    ...status,
    conditions: [...(status.conditions ?? []), ...foreign],
    jobs: status.jobs?.map((job) => ({ ...job, lastRun: lastRunOf(job.name) })),
  };
  const there = JSON.parse(JSON.stringify({ ...before, statistics: undefined }));
  if (isDeepStrictEqual(JSON.parse(JSON.stringify({ ...wanted, statistics: undefined })), there)) return stored;
  const names = (Object.keys(statusSchema.shape) as (keyof typeof wanted)[]).filter((name) => name !== 'statistics');
  const fields = Object.fromEntries(names.map((name) => [name, wanted[name] ?? null]));
  const patch = { metadata: { uid, resourceVersion }, status: fields };
  return client.mergePatch(resources.policies, stored.metadata, patch, { fieldManager, subresource: 'status' });
}

/** Removes a status that is too large or too deep to be read, which no controller or run has written; the policy as it is then. */
export function clearStatus(client: Client, { metadata }: StoredPolicy): Promise<StoredPolicy> {
  const { uid, resourceVersion } = metadata;
  const patch = { metadata: { uid, resourceVersion }, status: null };
  return client.mergePatch(resources.policies, metadata, patch, { fieldManager, subresource: 'status' });
}
