import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { resources } from '../../src/controller/objects.ts';
import { startControllerProcess } from '../bench-controller/controller-process.ts';
import { adminClient, controllerConnection, installOperator } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { policyManifest } from '../support/policies.ts';

const cluster = useCluster();
const admin = adminClient(cluster);
beforeAll(() => installOperator(cluster));

/** 1.3 MB of affinity, in terms of 65 KB. */
function largeAffinity() {
  const values = Array.from({ length: 64 }, () => 'x'.repeat(60));
  const matchExpressions = Array.from({ length: 16 }, () => ({ key: 'a', operator: 'In', values }));
  const terms = (length: number) =>
    Array.from({ length }, () => ({ topologyKey: 'a', labelSelector: { matchExpressions } }));
  return {
    podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms(16) },
    podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms(4) },
  };
}

it('forty policies of 1.3 MB leave a controller that starts more than half of its 512 MiB', async () => {
  const namespace = await cluster.createNamespace();
  const runner = { affinity: largeAffinity() };
  for (let number = 0; number < 40; number += 1) {
    const { metadata, ...manifest } = policyManifest(namespace, `large-${number}`, { runner });
    await admin.apply(resources.policies, { metadata, ...manifest }, { fieldManager: 'user', force: true });
  }
  const connection = await controllerConnection(cluster);
  const plane = { server: connection.server, kubeconfigPath: cluster.kubeconfigPath };
  const controller = await startControllerProcess({ plane, connection });
  onTestFinished(() => controller.kill());
  const stalled = () => controller.metric('retention_policy_stalled');
  await eventually('all to be Stalled', async () => (await stalled()) === 40, { seconds: 100 });
  const megabytes = Math.round((await controller.stop()) / 2 ** 20);
  expect(megabytes, 'its peak in MiB').toBeLessThan(220);
}, 240_000);
