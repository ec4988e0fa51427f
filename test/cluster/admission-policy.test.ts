import { beforeEach, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { installOperator } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { policyManifest } from '../support/policies.ts';

const cluster = useCluster();
let namespace: string;

/** `kubectl apply` of a policy with this spec: what it prints on stderr. It must be taken. */
async function applied(spec: Record<string, unknown>, ...options: string[]): Promise<string> {
  const input = stringify(policyManifest(namespace, 'p', spec));
  const { code, stderr } = await cluster.kubectl(['apply', '-f', '-', ...options], { input });
  expect(code, stderr).toBe(0);
  return stderr;
}

/** An API server takes a moment to see an admission policy. */
async function installed(): Promise<void> {
  await installOperator(cluster);
  await eventually('the warning', async () =>
    (await applied({ preset: 'Development' }, '--dry-run=server')).includes('in force is 30'),
  );
}

beforeEach(async () => {
  namespace = await cluster.createNamespace();
  await installed();
});

it.each<[string, Record<string, unknown>, number]>([
  ['a period of its own', { retention: { acknowledgementRetentionDays: 2_554 } }, 2_554],
  ['the preset Development', { preset: 'Development' }, 30],
  ['the preset Custom', { preset: 'Custom' }, 365],
  ['another field of spec.retention alone', { preset: 'Custom', retention: { batchSize: 10 } }, 365],
])('an audit trail shorter than seven years by %s is taken with a warning', async (_, spec, days) => {
  expect(await applied(spec)).toMatch(
    new RegExp(
      `^Warning: .*acknowledgementRetentionDays in force is ${days}, .* shorter than seven years \\(2555 days\\)`,
    ),
  );
});

it.each<[string, Record<string, unknown>]>([
  ['the default preset', {}],
  ['the default preset with another field', { retention: { batchSize: 10 } }],
  ['another preset with seven years', { preset: 'Development', retention: { acknowledgementRetentionDays: 2_555 } }],
])('seven years by %s are taken without a warning', async (_, spec) => {
  expect(await applied(spec)).toBe('');
});

it('the warning comes with a period that is new, and not again with what leaves it as it is', async () => {
  const short = { retention: { acknowledgementRetentionDays: 400 } };
  const warning = /acknowledgementRetentionDays in force is /;
  expect(await applied(short)).toMatch(warning);
  expect(await applied(short)).toBe('');
  expect(await applied({ ...short, schedule: '0 5 * * *', preset: 'Custom' })).toBe('');
  const policy = ['retpol', 'p', '-n', namespace];
  for (const change of [
    ['annotate', ...policy, 'note=x'],
    ['label', ...policy, 'note=x'],
    ['patch', ...policy, '--type=merge', '-p', '{"spec":{"suspend":true}}'],
  ]) {
    expect(await cluster.kubectl(change)).toMatchObject({ code: 0, stderr: '' });
  }
  const input = stringify(policyManifest(namespace, 'p', { ...short, preset: 'Custom', schedule: '0 6 * * *' }));
  expect(await cluster.kubectl(['diff', '-f', '-'], { input })).toMatchObject({ code: 1, stderr: '' });

  expect(await applied({ retention: { acknowledgementRetentionDays: 399 } })).toMatch(warning);
  expect(await applied({ retention: { acknowledgementRetentionDays: 3_000 } })).toBe('');
  expect(await applied({ preset: 'Custom' })).toMatch(warning);
});

it('one kubectl apply installs everything on a cluster that has none of it', async () => {
  const definition = 'crd/retentionpolicies.retention.agentdata.io';
  const admission = 'validatingadmissionpolicy/audit-trail.retention.agentdata.io';
  await cluster.kubectl(['delete', '--wait', definition, admission]);
  expect(await cluster.kubectl(['apply', '-k', 'deploy/base'])).toMatchObject({ code: 0 });
  await installed();
});
