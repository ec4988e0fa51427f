import { eventually } from '../eventually.ts';
import type { Kubectl } from './kubectl.ts';

const version = '/apis/retention.agentdata.io/v1alpha1';

/**
 * Ends when the API server serves RetentionPolicies and says so in its discovery. `kubectl wait` does not do: it fails on a
 * CRD so new that its conditions are null, and discovery comes after Established.
 */
export async function established(kubectl: Kubectl): Promise<void> {
  await eventually(
    'the API server serves RetentionPolicies',
    async () => {
      const discovery = await kubectl(['get', '--raw', version]);
      if (!discovery.stdout.includes('"retentionpolicies"')) return false;
      return (await kubectl(['get', '--raw', `${version}/retentionpolicies?limit=1`])).code === 0;
    },
    { seconds: 60 },
  );
}
