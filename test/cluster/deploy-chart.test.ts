import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { levels } from '../../src/cli/logger.ts';
import { kustomizeFiles } from '../support/deploy/generated.ts';
import { chart, helm, namespace, template } from '../support/deploy/helm.ts';
import { type Manifest, manifests, nameOf, namesOf } from '../support/deploy/manifests.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';

const cluster = useCluster();
const path = (file: string) => new URL(`../../${file}`, import.meta.url);
const everything = [
  'metrics.serviceMonitor.enabled',
  'metrics.prometheusRule.enabled',
  'metrics.dashboard.enabled',
  'networkPolicy.enabled',
].map((value) => `--set=${value}=true`);

/** `--set-json` of values, to be added to helm's arguments. */
const values = (set: Record<string, unknown>) =>
  Object.entries(set).map(([name, value]) => `--set-json=${name}=${JSON.stringify(value)}`);

it('passes helm lint, with its default values and with everything on', async () => {
  for (const args of [[], everything]) {
    expect(await helm(['lint', '--strict', chart, ...args])).toContain('1 chart(s) linted, 0 chart(s) failed');
  }
});

test('deploy/base and deploy/components are what `npm run generate` makes from the chart', async () => {
  for (const [file, text] of await kustomizeFiles()) {
    const same = readFileSync(path(file), 'utf8') === text;
    expect(same, `${file} is stale: run \`npm run generate\` and commit it`).toBe(true);
  }
});

/** Without what Helm alone writes, and in no order. */
function comparable(text: string): Manifest[] {
  const helmLabels = /^(helm\.sh\/chart|app\.kubernetes\.io\/(managed-by|instance|version))$/;
  const all = manifests(text).filter(({ kind }) => kind !== 'Namespace');
  for (const { metadata } of all) {
    const labels = Object.entries(metadata.labels ?? {}).filter(([key]) => !helmLabels.test(key));
    metadata.labels = Object.fromEntries(labels);
    if (metadata.annotations?.['helm.sh/resource-policy']) delete metadata.annotations;
  }
  return all.toSorted((one, other) => nameOf(one).localeCompare(nameOf(other)));
}

test('kustomize applies the same objects as Helm, and the namespace', async () => {
  const { stdout } = await cluster.kubectl(['kustomize', 'deploy/base']);
  expect(comparable(stdout)).toEqual(comparable(await template()));
  expect(namesOf(stdout).filter((name) => name.startsWith('Namespace'))).toEqual([`Namespace ${namespace}`]);
});

test('kustomize’s components, too, are what Helm makes of it', async () => {
  const sample = manifests((await cluster.kubectl(['kustomize', 'deploy/samples/kustomize'])).stdout);
  const chartObjects = await template([...everything, '--set=image.repository=my-registry/retention-operator']);
  expect(comparable(sample.map((object) => stringify(object)).join('---\n'))).toEqual(comparable(chartObjects));
});

const spread = {
  maxSkew: 1,
  topologyKey: 'topology.kubernetes.io/zone',
  whenUnsatisfiable: 'ScheduleAnyway',
  labelSelector: { matchLabels: { 'app.kubernetes.io/component': 'controller' } },
};

interface PodSpec {
  containers: { image: string; args: string[]; env: { name: string; value?: string }[] }[];
}
interface PodTemplate {
  metadata: { labels: Record<string, string>; annotations?: Record<string, string> };
  spec: PodSpec & Record<string, unknown>;
}

async function podTemplate(args: string[] = []): Promise<PodTemplate> {
  const deployment = manifests(await template(args)).find(({ kind }) => kind === 'Deployment') as unknown as {
    spec: { template: PodTemplate };
  };
  return deployment.spec.template;
}

/** Name → value of the container's variables. */
async function environment(args: string[] = []): Promise<Record<string, unknown>> {
  const { spec } = await podTemplate(args);
  return Object.fromEntries(spec.containers[0]!.env.map(({ name, value }) => [name, value]));
}

describe('the controller', () => {
  it('gets what it reads from its environment', async () => {
    expect(await environment()).toEqual({
      RETENTION_RUNNER_IMAGE: 'retention-operator:0.1.0',
      RETENTION_RUNNER_IMAGE_PULL_POLICY: 'IfNotPresent',
      RETENTION_LEASE_NAMESPACE: undefined,
      RETENTION_PORT: '8080',
      LOG_LEVEL: 'info',
    });
    expect((await podTemplate()).spec.containers[0]!.args).toEqual(['controller']);
    const namespaces = values({ 'controller.namespaces': ['a', 'b'] });
    expect(await environment(namespaces)).toMatchObject({ RETENTION_NAMESPACES: 'a,b' });
    const more = values({
      'controller.logLevel': 'debug',
      'controller.extraEnv': [{ name: 'HTTPS_PROXY', value: 'http://proxy:3128' }],
    });
    expect(await environment(more)).toMatchObject({ LOG_LEVEL: 'debug', HTTPS_PROXY: 'http://proxy:3128' });
  });

  it('runs the image of the runner Pods, by tag or by digest', async () => {
    const digest = `sha256:${'0'.repeat(64)}`;
    for (const [set, image] of [
      [{ 'image.repository': 'r/o', 'image.tag': '9' }, 'r/o:9'],
      [{ 'image.repository': 'r/o', 'image.tag': '9', 'image.digest': digest }, `r/o@${digest}`],
    ] as const) {
      expect((await podTemplate(values(set))).spec.containers[0]!.image).toBe(image);
      expect(await environment(values(set))).toMatchObject({ RETENTION_RUNNER_IMAGE: image });
    }
  });

  it('takes labels, annotations and where it runs from the values, and keeps the labels that select it', async () => {
    const set = {
      commonLabels: { team: 'a', 'app.kubernetes.io/name': 'mine' },
      podLabels: { team: 'b' },
      podAnnotations: { note: 'x' },
      priorityClassName: 'high',
      nodeSelector: { disk: 'ssd' },
      tolerations: [{ key: 'k', operator: 'Exists' }],
      topologySpreadConstraints: [spread],
      imagePullSecrets: [{ name: 'pull' }],
      affinity: null,
    };
    const { metadata, spec } = await podTemplate(values(set));
    expect(metadata).toEqual({
      labels: {
        team: 'b',
        'app.kubernetes.io/name': 'retention-operator',
        'app.kubernetes.io/component': 'controller',
      },
      annotations: { note: 'x' },
    });
    const { priorityClassName, nodeSelector, tolerations, topologySpreadConstraints, imagePullSecrets } = set;
    expect(spec).toMatchObject({
      priorityClassName,
      nodeSelector,
      tolerations,
      topologySpreadConstraints,
      imagePullSecrets,
    });
    expect(spec).not.toHaveProperty('affinity');
  });
});

test('what policies may set is nothing by default, and else what the values say', async () => {
  const allowed = async (args: string[] = []) =>
    (await podTemplate(args)).spec.containers[0]!.env.filter(({ name }) => name.startsWith('RETENTION_ALLOWED_'));
  expect(await allowed()).toEqual([]);
  const set = {
    'controller.policiesMaySet': {
      labels: ['team', 'cost.example.com/'],
      annotations: ['sidecar.istio.io/inject'],
      priorityClasses: ['low'],
      runtimeClasses: ['gvisor', 'kata'],
    },
  };
  expect(await allowed(values(set))).toEqual([
    { name: 'RETENTION_ALLOWED_LABELS', value: 'team,cost.example.com/' },
    { name: 'RETENTION_ALLOWED_ANNOTATIONS', value: 'sidecar.istio.io/inject' },
    { name: 'RETENTION_ALLOWED_PRIORITY_CLASSES', value: 'low' },
    { name: 'RETENTION_ALLOWED_RUNTIME_CLASSES', value: 'gvisor,kata' },
  ]);
});

test('the service account takes annotations', async () => {
  const rendered = await template(values({ 'serviceAccount.annotations': { 'example.com/role': 'r' } }));
  const account = manifests(rendered).find(({ kind }) => kind === 'ServiceAccount');
  expect(account?.metadata.annotations).toEqual({ 'example.com/role': 'r' });
});

test('a label that several values set has the most special one’s', async () => {
  const set = {
    commonLabels: { release: 'a', grafana_dashboard: '0', 'rbac.authorization.k8s.io/aggregate-to-view': 'false' },
    'metrics.serviceMonitor.labels': { release: 'b' },
    'metrics.prometheusRule.labels': { release: 'c' },
  };
  const objects = manifests(await template([...everything, ...values(set)]));
  const labelsOf = (name: string) => objects.find((object) => nameOf(object) === name)?.metadata.labels;
  expect(labelsOf(`Service ${namespace}/retention-controller`)).toMatchObject({ release: 'a' });
  expect(labelsOf(`ServiceMonitor ${namespace}/retention-controller`)).toMatchObject({ release: 'b' });
  expect(labelsOf(`PrometheusRule ${namespace}/retention-operator`)).toMatchObject({ release: 'c' });
  const dashboard = labelsOf(`ConfigMap ${namespace}/retention-operator-dashboard`);
  expect(dashboard).toMatchObject({ release: 'a', grafana_dashboard: '1' });
  const view = labelsOf('ClusterRole retentionpolicies-view');
  expect(view).toMatchObject({ release: 'a', 'rbac.authorization.k8s.io/aggregate-to-view': 'true' });
});

test('names that look like numbers stay names', async () => {
  const args = values({ priorityClassName: '1000', 'controller.namespaces': ['2024'] });
  expect((await podTemplate(args)).spec).toMatchObject({ priorityClassName: '1000' });
  const names = namesOf(await template([...args, '--set=networkPolicy.enabled=true']));
  expect(names).toEqual(
    expect.arrayContaining([
      'Role 2024/retention-controller',
      'RoleBinding 2024/retention-controller',
      'NetworkPolicy 2024/retention-runner',
    ]),
  );
});

test('a list of namespaces makes Roles there, and nothing that reaches further', async () => {
  const args = values({ 'controller.namespaces': ['a', 'b'], 'crds.enabled': false, 'admissionPolicy.enabled': false });
  const names = namesOf(await template([...args, '--set=networkPolicy.enabled=true']));
  expect(names.filter((name) => !name.includes('/'))).toEqual([]);
  for (const listed of ['a', 'b']) {
    expect(names).toEqual(
      expect.arrayContaining([
        `Role ${listed}/retention-controller`,
        `RoleBinding ${listed}/retention-controller`,
        `NetworkPolicy ${listed}/retention-runner`,
      ]),
    );
  }
});

test('alerts have a runbook_url where the values say whereto, and none by default', async () => {
  const urls = async (args: string[] = []) => {
    const rendered = manifests(await template([...everything, ...args]));
    const { spec } = rendered.find(({ kind }) => kind === 'PrometheusRule') as unknown as {
      spec: { groups: { rules: { alert: string; annotations: Record<string, string> }[] }[] };
    };
    return spec.groups.flatMap(({ rules }) => rules.map(({ alert, annotations }) => [alert, annotations.runbook_url]));
  };
  const none = await urls();
  expect(none.length).toBeGreaterThan(5);
  expect(none.filter(([, url]) => url !== undefined)).toEqual([]);
  for (const prefix of ['https://git.example.com/docs/runbooks', 'https://git.example.com/docs/runbooks/']) {
    const wanted = none.map(([alert]) => [alert, `https://git.example.com/docs/runbooks/${alert}.md`]);
    expect(await urls(values({ 'metrics.prometheusRule.runbookUrlPrefix': prefix }))).toEqual(wanted);
  }
});

test('the CRD stays when its release goes, unless crds.keep is false', async () => {
  const annotations = async (args: string[]) =>
    manifests(await template(args)).find(({ kind }) => kind === 'CustomResourceDefinition')?.metadata.annotations;
  expect(await annotations([])).toEqual({ 'helm.sh/resource-policy': 'keep' });
  expect(await annotations(['--set=crds.keep=false'])).toBeUndefined();
});

describe('the API server', () => {
  beforeAll(async () => {
    for (const name of [namespace, 'a', 'b']) {
      await cluster.kubectl(['create', 'namespace', name]);
    }
  });

  const peers = [{ podSelector: {} }];
  it.each<[string, string[]]>([
    ['default values', []],
    ['everything on', everything],
    [
      'every value set',
      [
        ...everything,
        ...values({
          replicaCount: 1,
          'controller.namespaces': ['a', 'b'],
          commonLabels: { team: 'a' },
          podAnnotations: { note: 'x' },
          'serviceAccount.annotations': { note: 'x' },
          'controller.logLevel': 'debug',
          'controller.extraEnv': [{ name: 'NODE_OPTIONS', value: '--max-old-space-size=400' }],
          tolerations: [{ key: 'k', operator: 'Exists' }],
          topologySpreadConstraints: [spread],
          imagePullSecrets: [{ name: 'pull' }],
          'networkPolicy.apiServer.to': [{ ipBlock: { cidr: '10.0.0.1/32' } }],
          'networkPolicy.metrics.from': peers,
          'networkPolicy.database.to': peers,
        }),
      ],
    ],
  ])('takes every object with %s, field by field', async (_, args) => {
    const objects = manifests(await template(args)).filter(({ apiVersion }) => !apiVersion.startsWith('monitoring.'));
    const input = objects.map((object) => stringify(object)).join('---\n');
    const dryRun = ['apply', '--server-side', '--force-conflicts', '--dry-run=server', '--validate=strict', '-f', '-'];
    expect(await cluster.kubectl(dryRun, { input })).toMatchObject({ code: 0, stderr: '' });
  });

  it('takes the controller’s Pod where the restricted Pod Security Standard is enforced', async () => {
    const restricted = await cluster.createNamespace({ 'pod-security.kubernetes.io/enforce': 'restricted' });
    await cluster.kubectl(['create', 'serviceaccount', 'retention-controller', '-n', restricted]);
    const { spec } = await podTemplate();
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'tried', namespace: restricted }, spec };
    const dryRun = ['apply', '--dry-run=server', '-f', '-'];
    expect(await cluster.kubectl(dryRun, { input: JSON.stringify(pod) })).toMatchObject({ code: 0, stderr: '' });
  });
});

it.each<[string, RegExp]>([
  ['LOG_LEVEL', /controller\.extraEnv must not have LOG_LEVEL: LOG_LEVEL and what begins with RETENTION_ are set by/],
  ['RETENTION_PORT', /controller\.extraEnv must not have RETENTION_PORT: /],
  ['RETENTION_NAMESPACES', /controller\.extraEnv must not have RETENTION_NAMESPACES: /],
  ['HTTPS_PROXY', /controller\.extraEnv must not have HTTPS_PROXY twice/],
])('a variable %s that the controller would have twice is refused by lint and template alike', async (name, words) => {
  const proxy = { name: 'HTTPS_PROXY', value: 'http://proxy:3128' };
  const args = values({ 'controller.extraEnv': [proxy, { name, value: 'x' }] });
  await expect(template(args)).rejects.toThrow(words);
  await expect(helm(['lint', '--strict', chart, ...args])).rejects.toThrow(words);
});

describe('values.schema.json', () => {
  it.each<[Record<string, unknown>, RegExp]>([
    [{ replicaCount: 'two' }, /at '\/replicaCount': got string, want integer/],
    [{ replicas: 3 }, /additional properties 'replicas' not allowed/],
    [
      { 'image.pullPolicy': 'Sometimes' },
      /at '\/image\/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'/,
    ],
    [{ 'image.digest': 'abc' }, /at '\/image\/digest': 'abc' does not match pattern/],
    [{ 'controller.namespaces': 'smartem' }, /at '\/controller\/namespaces': got string, want array/],
    [{ 'controller.namespaces': ['Smart EM'] }, /at '\/controller\/namespaces\/0': 'Smart EM' does not match pattern/],
    [{ 'controller.logLevel': 'loud' }, /at '\/controller\/logLevel': value must be one of 'trace', 'debug', 'info'/],
    [{ 'controller.extraEnv': [{ value: 'x' }] }, /at '\/controller\/extraEnv\/0': missing property 'name'/],
    [
      { 'metrics.prometheusRule.runbookUrlPrefix': 'docs/runbooks' },
      /at '\/metrics\/prometheusRule\/runbookUrlPrefix': 'docs\/runbooks' does not match pattern/,
    ],
    [{ 'networkPolicy.database.ports': [] }, /at '\/networkPolicy\/database\/ports': minItems: got 0, want 1/],
    [{ 'metrics.serviceMonitor.enabled': 'yes' }, /at '\/metrics\/serviceMonitor\/enabled': got string, want boolean/],
  ])('refuses %j, and says which value is wrong', async (set, words) => {
    await expect(template(values(set))).rejects.toThrow(words);
  });

  it('has the log levels that the program takes', () => {
    const { properties } = JSON.parse(readFileSync(path('deploy/chart/values.schema.json'), 'utf8'));
    expect(properties.controller.properties.logLevel.enum).toEqual(levels);
  });

  it('knows every value that there is, and no other', () => {
    interface Schema {
      properties?: Record<string, Schema>;
    }
    const names = (schema: Schema, at = ''): string[] =>
      Object.entries(schema.properties ?? {}).flatMap(([name, child]) =>
        child.properties ? names(child, `${at}${name}.`) : [at + name],
      );
    const schema = JSON.parse(readFileSync(path('deploy/chart/values.schema.json'), 'utf8')) as Schema;
    const defaults = parse(readFileSync(path('deploy/chart/values.yaml'), 'utf8')) as Record<string, unknown>;
    const at = (name: string) =>
      name.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], defaults);
    // Helm itself sets `global`.
    expect(names(schema).filter((name) => at(name) === undefined)).toEqual(['global']);
  });
});
