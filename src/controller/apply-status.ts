import { ApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { resources, type StoredPolicy } from './objects.ts';

/** Others write the status too: so often an apply is tried again that meets a change of theirs. */
const attempts = 5;

/**
 * Applies a part of a policy's status as this field manager, and gives the policy as it is then. The API server does not compare
 * the uid where the status of a custom resource is written: the resourceVersion keeps a late write from a policy that was created
 * again under the same name. Throws an ApiError, with status 409 for another policy of that name.
 */
export async function applyStatus(
  client: Client,
  stored: StoredPolicy,
  fieldManager: string,
  status: object | undefined,
): Promise<StoredPolicy> {
  const { namespace, name, uid } = stored.metadata;
  let { resourceVersion } = stored.metadata;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const desired = { metadata: { namespace, name, uid, resourceVersion }, status };
      return await client.apply(resources.policies, desired, { fieldManager, force: true, subresource: 'status' });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 409 || attempt === attempts) throw error;
      const { metadata } = await client.get(resources.policies, stored.metadata);
      if (metadata.uid !== uid) throw error;
      ({ resourceVersion } = metadata);
    }
  }
}
