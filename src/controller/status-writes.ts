import type { RetentionPolicyStatus } from '../api/status.ts';
import { ApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { applyWouldChange } from '../kubernetes/equality.ts';
import { parseStatus, resources, type StoredPolicy } from './objects.ts';
import { fieldManager } from './place.ts';
import { forgetJobs } from './report.ts';

/**
 * Writes the controller's part of a policy's status, where that differs, and then removes what runs of jobs have left
 * that are not among `kept`; undefined keeps all. Its own part first: what others had taken of that is whole again then.
 */
export async function writeStatus(
  client: Client,
  stored: StoredPolicy,
  status: RetentionPolicyStatus,
  kept: string[] | undefined,
): Promise<StoredPolicy> {
  const { namespace, name, uid } = stored.metadata;
  const desired = { metadata: { namespace, name, uid }, status };
  const write = async () => {
    const options = { fieldManager, force: true, subresource: 'status' } as const;
    const differs = applyWouldChange(desired, stored, { fieldManager, subresource: 'status' });
    const written = differs ? await client.apply(resources.policies, desired, options) : stored;
    return kept ? forgetJobs(client, written, kept) : written;
  };
  try {
    return await write();
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 422) throw error;
    // Of a condition of which another manager has a part, that part would be left, and the whole be invalid.
    const types = status.conditions?.map(({ type }) => type);
    const conditions = parseStatus(stored).conditions?.filter(({ type }) => types?.includes(type));
    const patch = { metadata: { uid }, status: { conditions } };
    await client.mergePatch(resources.policies, stored.metadata, patch, { fieldManager, subresource: 'status' });
    return write();
  }
}
