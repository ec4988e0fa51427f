import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { nothingAllowed } from '../../src/controller/allowed.ts';
import { resources } from '../../src/controller/objects.ts';
import { adminClient, installOperator, startController } from '../support/controller.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf, Policies } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
let controller: Awaited<ReturnType<typeof startController>> | undefined;
let policies: Policies;

beforeAll(() => installOperator(cluster));
beforeEach(async () => {
  policies = new Policies(client, await cluster.createNamespace());
});
afterEach(() => controller?.stop());

const cronJob = () => client.get(resources.cronJobs, { namespace: policies.namespace, name: 'smartem-cleanup' });

it.each([
  [{ annotations: { 'container.apparmor.security.beta.kubernetes.io/runner': 'unconfined' } }, 'annotations'],
  [{ labels: { app: 'checkout' } }, 'labels'],
  [{ priorityClassName: 'system-node-critical' }, 'priorityClassName'],
  [{ runtimeClassName: 'kata' }, 'runtimeClassName'],
  [{ resources: { limits: { 'example.com/fuse': 1 } } }, 'resources'],
])('a policy that sets %j is Stalled, and what ran before is suspended', async (runner, field) => {
  controller = await startController(cluster, { namespaces: [policies.namespace] });
  await policies.apply('smartem');
  await policies.settled('smartem', 'Ready', 'True');
  await policies.apply('smartem', { runner });
  const status = await policies.settled('smartem', 'Stalled', 'True');
  const { reason, message } = conditionOf(status, 'Stalled')!;
  expect(reason).toBe('RunnerNotAllowed');
  expect(message).toMatch(
    new RegExp(`^No run starts until this is repaired: spec\\.runner\\.${field}\\S*: ".+" is not`),
  );
  expect((await cronJob()).spec!.suspend).toBe(true);
});

it('what the administrator allows reaches the Pod, and the operator’s own labels stay', async () => {
  const allowed = {
    ...nothingAllowed,
    labels: ['team', 'cost.example.com/'],
    annotations: ['sidecar.istio.io/'],
  };
  controller = await startController(cluster, { namespaces: [policies.namespace], allowed });
  const labels = { team: 'em', 'cost.example.com/centre': '7' };
  await policies.apply('smartem', { runner: { labels, annotations: { 'sidecar.istio.io/inject': 'false' } } });
  await policies.settled('smartem', 'Ready', 'True');
  expect((await cronJob()).spec!.jobTemplate.spec!.template.metadata).toMatchObject({
    labels: { team: 'em', 'retention.agentdata.io/policy': 'smartem', 'retention.agentdata.io/job': 'cleanup' },
    annotations: { 'sidecar.istio.io/inject': 'false' },
  });
});
