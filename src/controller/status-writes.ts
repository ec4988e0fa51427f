import { conditionTypes, type RetentionPolicyStatus } from '../api/status.ts';
import { ApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { applyWouldChange } from '../kubernetes/equality.ts';
import { parseStatus, resources, type StoredPolicy } from './objects.ts';
import { fieldManager } from './place.ts';

/** Writes the controller's part of a policy's status, where that differs; the policy as it is then. */
export async function writeStatus(
  client: Client,
  stored: StoredPolicy,
  status: RetentionPolicyStatus,
): Promise<StoredPolicy> {
  const { namespace, name, uid, resourceVersion } = stored.metadata;
  const desired = { metadata: { namespace, name, uid }, status };
  if (!applyWouldChange(desired, stored, { fieldManager, subresource: 'status' })) return stored;
  const write = () => client.apply(resources.policies, desired, { fieldManager, force: true, subresource: 'status' });
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
