import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { kind } from '../../src/api/policy.ts';
import { parsePolicy, type StoredPolicy } from '../../src/controller/objects.ts';
import { installOperator } from '../support/controller.ts';
import { differences } from '../support/deploy/differences.ts';
import { type Manifest, manifests } from '../support/deploy/manifests.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';
import { policyManifest } from '../support/policies.ts';

const cluster = useCluster();
const folder = new URL('../../deploy/samples/', import.meta.url);
const samples = readdirSync(folder).filter((file) => file.endsWith('.yaml'));
let namespace: string;

beforeAll(async () => {
  await installOperator(cluster);
  namespace = await cluster.createNamespace();
  // An API server takes a moment to see an admission policy.
  await eventually('the warning', async () => (await applied('development.yaml', '--dry-run=server')) !== '');
});

/** The objects of a sample, in the test's namespace. */
function objectsOf(file: string): Manifest[] {
  const objects = manifests(readFileSync(new URL(file, folder), 'utf8'));
  return objects.map(({ metadata, ...object }) => ({ ...object, metadata: { ...metadata, namespace } }));
}

const yamlOf = (objects: readonly object[]) => objects.map((object) => stringify(object)).join('---\n');

/** What `kubectl apply` of a sample prints on stderr. */
async function applied(file: string, ...options: string[]): Promise<string> {
  const input = yamlOf(objectsOf(file));
  const { code, stderr } = await cluster.kubectl(['apply', '--validate=strict', '-f', '-', ...options], { input });
  expect(code, stderr).toBe(0);
  return stderr;
}

test.each(samples)('the sample %s is taken by the API server and by the controller', async (file) => {
  const stderr = await applied(file);
  // The one that says so itself has a shorter audit trail than seven years.
  expect(stderr !== '').toBe(file === 'development.yaml');
  const { stdout } = await cluster.kubectl(['get', 'retpol', '-n', namespace, '-o', 'json']);
  for (const policy of (JSON.parse(stdout) as { items: StoredPolicy[] }).items) {
    expect(parsePolicy(policy)).toHaveProperty('policy');
  }
});

test('no two samples have an object in common', () => {
  const names = samples.flatMap((file) =>
    manifests(readFileSync(new URL(file, folder), 'utf8')).map(({ kind, metadata }) => `${kind} ${metadata.name}`),
  );
  expect(new Set(names).size).toBe(names.length);
});

/** Jobs without a field that has a meaning of its own where it is left out. */
const jobs = [
  [{ name: 'all' }],
  [
    { name: 'one', operations: ['connections'] },
    { name: 'rest', schedule: '0 4 * * *' },
  ],
];
const inSync: [string, () => Manifest[]][] = [
  ...samples.map((file): [string, () => Manifest[]] => [file, () => objectsOf(file)]),
  ...jobs.map((list, n): [string, () => Manifest[]] => [
    `with jobs ${JSON.stringify(list)}`,
    () => [policyManifest(namespace, `jobs-${n}`, { jobs: list })],
  ]),
];

test.each(inSync)('%s is in sync for clients that compare by themselves, and stays so', async (_, objects) => {
  const kubectl = strictly(cluster.kubectl);
  const apply = async (object: Manifest) =>
    JSON.parse(await kubectl(['apply', '-o', 'json', '-f', '-'], stringify(object))) as Manifest;
  for (const sent of objects()) {
    const stored = await apply(sent);
    // Kubernetes' own kinds these clients compare by what they know of each.
    if (sent.kind === kind) expect(differences(sent, stored, 'whole')).toEqual([]);
    const diff = await cluster.kubectl(['diff', '-f', '-'], { input: stringify(sent) });
    expect(diff).toMatchObject({ code: 0, stdout: '' });
    expect((await apply(sent)).metadata.resourceVersion).toBe(stored.metadata.resourceVersion);
  }
});
