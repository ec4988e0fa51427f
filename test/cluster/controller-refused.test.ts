import { afterEach, beforeAll, expect, it } from 'vitest';
import { resources } from '../../src/controller/objects.ts';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import { deny } from '../support/admission.ts';
import { adminClient, installOperator, startController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';
import { Policies } from '../support/policies.ts';
import { freePort } from '../support/processes.ts';

const cluster = useCluster();
const client = adminClient(cluster);
let controller: Awaited<ReturnType<typeof startController>> | undefined;
beforeAll(() => installOperator(cluster));
afterEach(() => controller?.stop());

it('a policy whose Role is refused is tried again, not Stalled; its CronJob is there, and not switched on and off', async () => {
  const policies = new Policies(client, await cluster.createNamespace());
  const { namespace } = policies;
  const admission = await deny(cluster, namespace, { message: 'no roles today', on: 'roles' });
  try {
    controller = await startController(cluster, { namespaces: [namespace], relistMs: 300 });
    await policies.apply('smartem');
    const { conditions } = await policies.settled('smartem', 'Reconciling', 'True');
    expect(conditions).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ type: 'Ready', status: 'False', message: expect.stringContaining('no roles today') }),
      ]),
    );
    expect(conditions!.some(({ type }) => type === 'Stalled')).toBe(false);
    const cronJob = () => client.get(resources.cronJobs, { namespace, name: 'smartem-cleanup' });
    const before = await cronJob();
    expect(before.spec!.suspend).toBe(false);
    await policies.apply('smartem', {}, { touched: 'again' });
    await policies.settled('smartem', 'Reconciling', 'True');
    expect((await cronJob()).metadata.generation).toBe(before.metadata.generation);
  } finally {
    await admission.end();
  }
  await policies.settled('smartem', 'Ready', 'True');
});

it('the metric of RetentionControllerReconcileFailing is there while every write is refused, and gone when none is', async () => {
  const policies = new Policies(client, await cluster.createNamespace());
  const { namespace } = policies;
  const account = 'system:serviceaccount:retention-system:retention-controller';
  const { server, options } = connectionFromKubeconfig(cluster.kubeconfigPath);
  // Everything may be read, and nothing written.
  let user = `reader-of-${namespace}`;
  const name = user;
  const kubectl = strictly(cluster.kubectl);
  await kubectl(['create', 'clusterrole', name, '--verb=get,list,watch', '--resource=*.*']);
  await kubectl(['create', 'clusterrolebinding', name, `--clusterrole=${name}`, `--user=${name}`]);
  const port = await freePort();
  try {
    controller = await startController(cluster, {
      connection: {
        server,
        options: async () => ({ ...(await options()), headers: { 'impersonate-user': user } }),
      },
      namespaces: [namespace],
      relistMs: 300,
      port,
    });
    const failing = async () => {
      const text = await fetch(`http://127.0.0.1:${port}/metrics`).then((response) => response.text());
      return Number(text.match(/^retention_controller_failing_policies (\d+)$/m)?.[1]);
    };
    expect(await failing()).toBe(0);
    for (const policy of ['a', 'b', 'c']) await policies.apply(policy, { database: { secretRef: { name: policy } } });
    await eventually('three that fail', async () => (await failing()) === 3);
    user = account;
    await eventually('none that fails', async () => (await failing()) === 0);
    for (const policy of ['a', 'b', 'c']) await policies.settled(policy, 'Ready', 'True');
  } finally {
    await kubectl(['delete', 'clusterrolebinding,clusterrole', name]);
  }
});
