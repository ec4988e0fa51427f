import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { parsePolicy, type StoredPolicy } from '../../src/controller/objects.ts';
import { installOperator } from '../support/controller.ts';
import { manifests } from '../support/deploy/manifests.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';

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

/** What `kubectl apply` prints on stderr, where the sample's namespace is that of the test. */
async function applied(file: string, ...options: string[]): Promise<string> {
  const objects = manifests(readFileSync(new URL(file, folder), 'utf8'));
  const input = objects
    .map(({ metadata, ...object }) => stringify({ ...object, metadata: { ...metadata, namespace } }))
    .join('---\n');
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
