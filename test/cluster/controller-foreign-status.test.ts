import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runFieldManager } from '../../src/api/policy.ts';
import { resources } from '../../src/controller/objects.ts';
import { adminClient, installOperator, startController } from '../support/controller.ts';
import { runOf } from '../support/controller-objects.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf, Policies } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
let controller: Awaited<ReturnType<typeof startController>>;
let policies: Policies;

beforeAll(async () => {
  await installOperator(cluster);
  controller = await startController(cluster);
});
afterAll(() => controller?.stop());
beforeEach(async () => {
  policies = new Policies(client, await cluster.createNamespace());
});

/** Writes a status as somebody with the right to do so. */
function overwrite(name: string, fieldManager: string, status: object) {
  const { namespace } = policies;
  const options = { fieldManager, force: true, subresource: 'status' } as const;
  return client.apply(resources.policies, { metadata: { namespace, name }, status }, options);
}

describe('a status that somebody else wrote', () => {
  it('with a run whose end is no time does not keep the controller from writing its own', async () => {
    await policies.apply('p');
    await policies.settled('p', 'Ready', 'True');
    const lastRun = runOf('cleanup', { completionTime: 'yesterday' });
    await overwrite('p', runFieldManager('cleanup'), { jobs: [{ name: 'cleanup', lastRun }] });
    await policies.apply('p', { suspend: true });
    const status = await policies.statusOf(
      'p',
      'the policy to be suspended',
      (found) => conditionOf(found, 'Ready')?.reason === 'Suspended',
    );
    expect(status.lastRun).toBeUndefined();
  });
});
