import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, test } from 'vitest';
import { resources } from '../../src/controller/objects.ts';
import { adminClient, controllerConnection, installOperator, startController } from '../support/controller.ts';
import { chart, helm, namespace } from '../support/deploy/helm.ts';
import { release, uninstallOperator } from '../support/deploy/install.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { established } from '../support/kubernetes/established.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';
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

/** The template by which docs/install.md lets kubectl give up what Helm has taken over. */
const stubs = readFileSync(new URL('../../docs/install.md', import.meta.url), 'utf8').match(
  /go-template='([^']+)'/,
)?.[1];

describe('what kubectl applied before becomes the release’s by --take-ownership --force-conflicts', () => {
  it.each<[string, string[]]>([
    ['the server', ['--server-side', '--force-conflicts']],
    ['the client', []],
  ])('and kubectl gives it up: later upgrades change anything, applied by %s before', async (_, options) => {
    await kubectl('apply', ...options, '-k', 'deploy/base');
    const before = await uids();
    await release(cluster, 'install', ['--take-ownership', '--force-conflicts']);
    const crd = 'crd/retentionpolicies.retention.agentdata.io';
    expect(JSON.parse(await kubectl('get', crd, '-o', 'jsonpath={.metadata.annotations}'))).toMatchObject({
      'meta.helm.sh/release-name': 'retention',
      'helm.sh/resource-policy': 'keep',
    });

    await expect(release(cluster, 'upgrade', ['--set=replicaCount=4'])).rejects.toThrow(/conflict with "kubectl/);

    // The pipe of docs/install.md.
    const manifest = await helm(['get', 'manifest', 'retention', '--namespace', namespace], {
      KUBECONFIG: cluster.kubeconfigPath,
    });
    const kubectlWith = strictly(cluster.kubectl);
    const names = await kubectlWith(['get', '-f', '-', '-o', `go-template=${stubs}`], manifest);
    await kubectlWith(['apply', '--server-side', '-f', '-'], names);

    expect(await uids()).toEqual(before);
    const specBefore = await specOf();
    await release(cluster, 'upgrade', []);
    expect(await specOf()).toEqual(specBefore);
    await release(cluster, 'upgrade', [
      '--set=replicaCount=3',
      '--set=image.tag=9.9.9',
      '--set=controller.logLevel=debug',
      '--set=resources.limits.memory=1Gi',
      '--set=commonLabels.team=a',
      '--set=crds.keep=false',
    ]);
    const after = JSON.stringify(await specOf());
    for (const value of ['"replicas":3', ':9.9.9"', '"debug"', '"1Gi"']) expect(after).toContain(value);
    expect(await kubectl('get', crd, '-o', 'jsonpath={.metadata.annotations}')).not.toContain(
      'helm.sh/resource-policy',
    );
    expect(await uids()).toEqual(before);
  });

  const uids = () =>
    kubectl('get', 'deployment,service,serviceaccount,crd', '-n', namespace, '-o', 'jsonpath={.items[*].metadata.uid}');
  const specOf = async (): Promise<unknown> =>
    JSON.parse(await kubectl('get', 'deployment/retention-controller', '-n', namespace, '-o', 'jsonpath={.spec}'));
});

describe('a second installation', () => {
  const list = (...namespaces: string[]) => `--set-json=controller.namespaces=${JSON.stringify(namespaces)}`;
  const other = async (...args: string[]) => {
    const namespace = await cluster.createNamespace();
    const options = { KUBECONFIG: cluster.kubeconfigPath };
    onTestFinished(async () => {
      await helm(['uninstall', 'other', '--ignore-not-found', '--namespace', namespace], options);
    });
    return helm(['install', 'other', chart, '--namespace', namespace, '--set=crds.enabled=false', ...args], options);
  };

  it('with a list is refused beside one for all namespaces, of Helm’s or not', async () => {
    const here = await cluster.createNamespace();
    const sentence = (who: string) =>
      new RegExp(
        `another controller, ${who}, looks after all namespaces \\(its ClusterRole .*give it a list in controller`,
      );
    await release(cluster, 'install', ['--create-namespace']);
    await expect(other(list(here))).rejects.toThrow(sentence('release retention in namespace retention-system'));
    // It may itself go from all to a list, and back.
    await release(cluster, 'upgrade', [list(here)]);
    await release(cluster, 'upgrade');
    await release(cluster, 'uninstall');
    await installOperator(cluster);
    await expect(other(list(here))).rejects.toThrow(sentence('not installed by Helm'));
  });

  it('for all namespaces is refused beside one with a list; two with lists of their own are not', async () => {
    const [here, elsewhere] = [await cluster.createNamespace(), await cluster.createNamespace()];
    await release(cluster, 'install', ['--create-namespace', list(here)]);
    const all = other('--set=admissionPolicy.enabled=false');
    await expect(all).rejects.toThrow(
      new RegExp(
        `another controller, release retention in namespace retention-system, looks after namespace ${here} .*list this one's namespaces`,
      ),
    );
    await other('--set=admissionPolicy.enabled=false', list(elsewhere));
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
