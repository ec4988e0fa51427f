import { afterAll, beforeAll, beforeEach } from 'vitest';
import { adminClient, installOperator, startController } from './controller.ts';
import type { Cluster } from './kubernetes/cluster.ts';
import { Policies } from './policies.ts';

/** Installs the operator and runs its controller for a test file. The policies are those of a new namespace in each test. */
export function useController(cluster: Cluster): Policies {
  const policies = new Policies(adminClient(cluster), 'none before a test');
  let controller: Awaited<ReturnType<typeof startController>>;
  beforeAll(async () => {
    await installOperator(cluster);
    controller = await startController(cluster);
  });
  afterAll(() => controller?.stop());
  beforeEach(async () => {
    policies.namespace = await cluster.createNamespace();
  });
  return policies;
}
