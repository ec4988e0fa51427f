import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { statusSchema } from '../../src/api/status.ts';
import { plannedJobs } from '../../src/controller/desired.ts';
import { parsePolicy, type StoredPolicy } from '../../src/controller/objects.ts';
import { installOperator } from '../support/controller.ts';
import { manifests } from '../support/deploy/manifests.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { established } from '../support/kubernetes/established.ts';
import { policyManifest } from '../support/policies.ts';

const cluster = useCluster();
const read = (file: string) => readFileSync(new URL(file, import.meta.url), 'utf8');
/** The CRD, and policies as they were written for it: never changed, however the product goes on. */
const release = { crd: read('fixtures/0.1.0/crd.yaml'), policies: read('fixtures/0.1.0/policies.yaml') };
const status: unknown = parse(read('fixtures/0.1.0/status.yaml'));
const definition = 'crd/retentionpolicies.retention.agentdata.io';
let namespace: string;

beforeAll(async () => {
  namespace = await cluster.createNamespace();
});
afterAll(() => installOperator(cluster));

/** What kubectl prints; it must succeed. */
async function kubectl(args: string[], input?: string): Promise<string> {
  const result = await cluster.kubectl(args, { input });
  expect(result, args.join(' ')).toMatchObject({ code: 0 });
  return result.stdout;
}

async function applyDefinition(crd: string): Promise<void> {
  await kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], crd);
  await established(cluster.kubectl);
}

/** Today's CRD, with one more rule, by which the test sees that the API server has it in force. */
function markedDefinition(): string {
  interface Definition {
    spec: { versions: { schema: { openAPIV3Schema: { 'x-kubernetes-validations': object[] } } }[] };
  }
  const crd = parse(read('../../crds/retentionpolicies.yaml')) as Definition;
  for (const { schema } of crd.spec.versions) {
    const rule = { rule: `self.metadata.name != 'marker'`, message: 'the new definition' };
    schema.openAPIV3Schema['x-kubernetes-validations'].push(rule);
  }
  return stringify(crd);
}

async function inForce(): Promise<boolean> {
  const input = JSON.stringify(policyManifest(namespace, 'marker'));
  const { stderr } = await cluster.kubectl(['create', '--dry-run=server', '-f', '-'], { input });
  return stderr.includes('the new definition');
}

async function stored(): Promise<StoredPolicy[]> {
  const { items } = JSON.parse(await kubectl(['get', 'retpol', '-n', namespace, '-o', 'json']));
  return (items as StoredPolicy[]).map(({ metadata: { managedFields: _, ...metadata }, ...rest }) => ({
    ...rest,
    metadata,
  }));
}

test('policies of release 0.1.0 stay as they are under today’s CRD, can be written again, and keep their status', async () => {
  await cluster.kubectl(['delete', '--ignore-not-found', '--wait', definition]);
  await applyDefinition(release.crd);
  const policies = manifests(release.policies).map((policy) =>
    stringify({ ...policy, metadata: { ...policy.metadata, namespace } }),
  );
  await kubectl(['apply', '--server-side', '-f', '-'], policies.join('---\n'));
  const names = (await stored()).map(({ metadata }) => metadata.name!);
  expect(names).toHaveLength(policies.length);
  const patch = ['-n', namespace, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status })];
  for (const name of names) await kubectl(['patch', 'retpol', name, ...patch]);
  const before = await stored();
  for (const policy of before) expect(policy.status, 'the whole status is one that 0.1.0 takes').toEqual(status);

  await applyDefinition(markedDefinition());
  await eventually('today’s definition', inForce);
  const after = await stored();
  expect(after).toEqual(before);
  for (const policy of after) {
    expect(parsePolicy(policy)).toHaveProperty('policy');
    expect(statusSchema.parse(policy.status)).toEqual(status);
  }

  // Written again, by an update and by an apply, nothing changes: not even the resourceVersion.
  await kubectl(['replace', '-f', '-'], after.map((policy) => stringify(policy)).join('---\n'));
  await kubectl(['apply', '--server-side', '-f', '-'], policies.join('---\n'));
  expect(await stored()).toEqual(before);
});

test('a job that 0.1.0 filled operations into does the same under today’s CRD, and the next apply takes them away again', async () => {
  await cluster.kubectl(['delete', '--ignore-not-found', '--wait', definition]);
  await applyDefinition(release.crd);
  const jobs = [{ name: 'all' }, { name: 'some', operations: ['sessions', 'connections'], schedule: '0 5 * * *' }];
  const manifest = JSON.stringify(policyManifest(namespace, 'filled', { jobs }));
  await kubectl(['apply', '-f', '-'], manifest);
  const only = async () => {
    const policy = (await stored()).find(({ metadata }) => metadata.name === 'filled')!;
    const parsed = parsePolicy(policy);
    if (!('policy' in parsed)) throw new Error(parsed.problem);
    return { jobs: (policy.spec as { jobs: unknown }).jobs, planned: plannedJobs(parsed.policy) };
  };
  const before = await only();
  expect(before.jobs).toMatchObject([{ operations: { length: 4 } }, {}]);

  await applyDefinition(markedDefinition());
  await eventually('today’s definition', inForce);
  expect(await only()).toEqual(before);
  await kubectl(['apply', '-f', '-'], manifest);
  expect(await only()).toEqual({ jobs, planned: before.planned });
});

test('policies with schedules and time zones that today’s rules refuse stay readable, and all else of them can be changed', async () => {
  await cluster.kubectl(['delete', '--ignore-not-found', '--wait', definition]);
  await applyDefinition(release.crd);
  const bad = [
    { schedule: 'daily' },
    { schedule: '0 3 * * *', timeZone: 'Mars/Phobos' },
    { schedule: '0 3 * * *', jobs: [{ name: 'a', schedule: '99 3 * * *' }, { name: 'b' }] },
  ];
  const manifests = bad.map((spec, n) => policyManifest(namespace, `bad-${n}`, spec));
  for (const manifest of manifests) await kubectl(['apply', '-f', '-'], JSON.stringify(manifest));
  await applyDefinition(markedDefinition());
  await eventually('today’s definition', inForce);
  for (const { metadata, spec, ...manifest } of manifests) {
    const which = ['retpol', metadata.name, '-n', namespace];
    await kubectl(['annotate', ...which, 'note=x']);
    await kubectl(['patch', ...which, '--type=merge', '-p', '{"spec":{"suspend":true}}']);
    const patch = JSON.stringify({ status: { observedGeneration: 2 } });
    await kubectl(['patch', ...which, '--subresource=status', '--type=merge', '-p', patch]);
    await kubectl(['apply', '-f', '-'], JSON.stringify({ ...manifest, metadata, spec: { ...spec, dryRun: true } }));
    const policy = (await stored()).find(({ metadata: { name } }) => name === metadata.name)!;
    expect(policy.spec).toMatchObject({ ...spec, dryRun: true, suspend: true });
    expect(parsePolicy(policy)).toHaveProperty('problem');
    const again = await cluster.kubectl([
      'patch',
      ...which,
      '--type=merge',
      '-p',
      '{"spec":{"schedule":"99 4 * * *"}}',
    ]);
    expect(again).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('must be a cron expression of five fields'),
    });
  }
});
