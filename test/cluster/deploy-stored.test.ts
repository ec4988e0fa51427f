import { beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { customResourceDefinition } from '../../src/api/generate/crd.ts';
import { differences } from '../support/deploy/differences.ts';
import { template } from '../support/deploy/helm.ts';
import { uninstallOperator } from '../support/deploy/install.ts';
import { type Manifest, manifests, nameOf } from '../support/deploy/manifests.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';

// GitOps tools compare what they sent with what is stored, field by field: what an API server drops or writes in another
// way is a difference for ever, and an application that is never in sync.

const cluster = useCluster();
const kubectl = strictly(cluster.kubectl);

beforeAll(() => uninstallOperator(cluster));

/** Applies the objects one by one and reads each back: what is stored otherwise than it was sent, by object and field. */
async function changedOnTheWay(objects: readonly Manifest[]): Promise<string[]> {
  const changed: string[] = [];
  for (const object of objects) {
    const stored = await kubectl(
      ['apply', '--server-side', '--force-conflicts', '-o', 'json', '-f', '-'],
      stringify(object),
    );
    changed.push(...differences(object, JSON.parse(stored), 'items').map((each) => `${nameOf(object)} ${each}`));
  }
  return changed;
}

test('a field that is dropped, and one that is written in another way, are seen by the comparison', async () => {
  const crd = parse(stringify(customResourceDefinition())) as Manifest & {
    spec: { versions: { schema: { openAPIV3Schema: { properties: Record<string, object> } } }[] };
  };
  crd.spec.versions[0]!.schema.openAPIV3Schema.properties.metadata = { type: 'object', properties: {} };
  const namespace = await cluster.createNamespace();
  const claims = (cpu: string) => ({ resources: { limits: { cpu } }, name: 'c', image: 'i' });
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace },
    spec: { containers: [claims('1000m'), { ...claims('1'), name: 'd', env: [] }] },
  };
  expect(await changedOnTheWay([crd, pod])).toEqual([
    'CustomResourceDefinition retentionpolicies.retention.agentdata.io .spec.versions[0].schema.openAPIV3Schema.properties.metadata.properties: sent {}, stored undefined',
    `Pod ${namespace}/p .spec.containers[0].resources.limits.cpu: sent "1000m", stored "1"`,
    `Pod ${namespace}/p .spec.containers[1].env: sent [], stored undefined`,
  ]);
});

test('the API server stores crds/ and deploy/base as they are sent', async () => {
  for (const folder of ['crds', 'deploy/base', 'deploy/components/network-policy']) {
    expect(await changedOnTheWay(manifests(await kubectl(['kustomize', folder])))).toEqual([]);
  }
});

test.each<[string, Record<string, unknown>]>([
  ['its default values', {}],
  [
    'everything on',
    {
      'metrics.dashboard.enabled': true,
      'networkPolicy.enabled': true,
      'controller.policiesMaySet.labels': ['team'],
      tolerations: [{ key: 'k', operator: 'Exists' }],
      imagePullSecrets: [{ name: 'pull' }],
    },
  ],
  ['what may be left out left out', { affinity: null, resources: {}, 'crds.keep': false, podAnnotations: {} }],
  ['a list of namespaces', { 'controller.namespaces': ['default'], 'networkPolicy.enabled': true }],
])('the API server stores the chart with %s as it is sent', async (_, values) => {
  const set = Object.entries(values).map(([name, value]) => `--set-json=${name}=${JSON.stringify(value)}`);
  const namespace = {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'retention-system' },
  };
  expect(await changedOnTheWay([namespace, ...manifests(await template(set))])).toEqual([]);
});
