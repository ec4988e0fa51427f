import { afterEach, beforeEach, expect, test } from 'vitest';
import { resources } from '../../src/controller/objects.ts';
import { adminClient, controllerConnection, installOperator, startController } from '../support/controller.ts';
import { namespace } from '../support/deploy/helm.ts';
import { release, uninstallOperator } from '../support/deploy/install.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { established } from '../support/kubernetes/established.ts';
import { conditionOf, Policies } from '../support/policies.ts';

const cluster = useCluster();
let controller: { stop(): Promise<void> } | undefined;

beforeEach(() => uninstallOperator(cluster));
afterEach(async () => {
  await controller?.stop();
  controller = undefined;
  await release(cluster, 'uninstall').catch(() => {});
});

/** What kubectl prints; it must succeed. */
async function kubectl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.kubectl(args);
  expect(code, stderr).toBe(0);
  return stdout;
}
const names = (...args: string[]) => kubectl('get', '-o', 'name', ...args);

test('helm install, upgrade and uninstall: policies stay, everything else goes', async () => {
  await release(cluster, 'install', ['--create-namespace']);
  await established(cluster.kubectl);
  const policies = new Policies(adminClient(cluster), await cluster.createNamespace());
  const { metadata } = await policies.apply('smartem');

  await release(cluster, 'upgrade', ['--set=replicaCount=3']);
  expect(await kubectl('get', 'deployment', '-n', namespace, '-o', 'jsonpath={.items[*].spec.replicas}')).toBe('3');

  await release(cluster, 'uninstall');
  const kinds = 'deployment,pdb,service,serviceaccount,role,rolebinding';
  expect(await names(kinds, '-n', namespace, '-l', 'app.kubernetes.io/name=retention-operator')).toBe('');
  const clusterWide = 'clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding';
  expect(await names(clusterWide, '-l', 'app.kubernetes.io/name=retention-operator')).toBe('');
  expect((await policies.get('smartem')).metadata.uid).toBe(metadata.uid);

  // The CRD that stayed is taken up by the next release.
  await release(cluster, 'install');
});

test('what kubectl applied before becomes the release’s by --take-ownership --force-conflicts', async () => {
  await installOperator(cluster);
  await release(cluster, 'install', ['--take-ownership', '--force-conflicts']);
  const crd = await kubectl(
    'get',
    'crd/retentionpolicies.retention.agentdata.io',
    '-o',
    'jsonpath={.metadata.annotations}',
  );
  expect(JSON.parse(crd)).toMatchObject({
    'meta.helm.sh/release-name': 'retention',
    'helm.sh/resource-policy': 'keep',
  });
});

test('with a list of namespaces the controller works there by Roles alone, and nowhere else', async () => {
  const client = adminClient(cluster);
  const [here, elsewhere] = [
    new Policies(client, await cluster.createNamespace()),
    new Policies(client, await cluster.createNamespace()),
  ];
  const list = `--set-json=controller.namespaces=["${here.namespace}"]`;
  await release(cluster, 'install', ['--create-namespace', list]);
  await established(cluster.kubectl);
  expect(await names('clusterrole,clusterrolebinding', '-l', 'app.kubernetes.io/name=retention-operator')).toBe('');

  const connection = await controllerConnection(cluster);
  controller = await startController(cluster, { connection, namespaces: [here.namespace] });
  await here.apply('smartem');
  const status = await here.settled('smartem', 'Ready', 'True');
  expect(conditionOf(status, 'Ready')).toMatchObject({ reason: 'Scheduled' });
  await client.get(resources.cronJobs, { namespace: here.namespace, name: 'smartem-cleanup' });

  const account = `--as=system:serviceaccount:${namespace}:retention-controller`;
  const denied = await cluster.kubectl([
    'auth',
    'can-i',
    'list',
    'retentionpolicies',
    '-n',
    elsewhere.namespace,
    account,
  ]);
  expect(denied.stdout.trim()).toBe('no');
});
