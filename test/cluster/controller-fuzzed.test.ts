import { readFile } from 'node:fs/promises';
import { expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import { startControllerProcess } from '../bench-controller/controller-process.ts';
import { Campaign } from '../fuzz/campaign.ts';
import { sources } from '../fuzz/requests.ts';
import { controllerConnection, installOperator } from '../support/controller.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';

const cluster = useCluster();

// Longer than what it waits for in vain where something is wrong, so that it tells what.
it('each of 200 fuzzed policies is rejected, or becomes Ready or Stalled; the controller goes on', async () => {
  await installOperator(cluster);
  const { kubeconfigPath, kubeConfig } = cluster;
  const plane = { kubeconfigPath, server: kubeConfig.getCurrentCluster()!.server };
  const namespaces = [await cluster.createNamespace(), await cluster.createNamespace()];
  const connection = await controllerConnection(cluster);
  // What other tests have left in theirs is no business of this one.
  const env = { RETENTION_NAMESPACES: namespaces.join(',') };
  const controller = await startControllerProcess({ plane, connection }, { env });
  onTestFinished(() => controller.kill());
  const campaign = new Campaign({
    connection: connectionFromKubeconfig(kubeconfigPath),
    controller,
    namespaces,
    definition: parse(await readFile('crds/retentionpolicies.yaml', 'utf8')),
  });
  await campaign.round(20_261_124, 200);
  await campaign.end();
  expect(campaign.failures).toEqual([]);
  // It would show nothing if all were rejected.
  expect([...campaign.tallies.keys()]).toEqual(expect.arrayContaining([...sources, 'new spec', 'status overwritten']));
  const oneSided = [...campaign.tallies].filter(([, { ready, stalled }]) => Math.min(ready, stalled) === 0);
  expect(oneSided).toEqual([]);
}, 400_000);
