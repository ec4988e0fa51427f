import { expect, it } from 'vitest';
import { type Allowed, notAllowed, nothingAllowed } from '../../../src/controller/allowed.ts';
import { policyWith } from '../../support/controller-objects.ts';

const some: Allowed = {
  labels: ['team', 'cost.example.com/'],
  annotations: ['sidecar.istio.io/inject'],
  priorityClasses: ['batch-low'],
  runtimeClasses: ['gvisor'],
};
const refused = (runner: object, allowed = nothingAllowed) => notAllowed(policyWith({ runner }).spec, allowed);

it.each([
  ['AppArmor', { annotations: { 'container.apparmor.security.beta.kubernetes.io/runner': 'unconfined' } }],
  ['Istio', { annotations: { 'sidecar.istio.io/userVolume': '[]' } }],
  ['Vault', { annotations: { 'vault.hashicorp.com/agent-inject': 'true' } }],
  ['OpenTelemetry', { annotations: { 'instrumentation.opentelemetry.io/inject-nodejs': 'true' } }],
  ['Multus', { annotations: { 'k8s.v1.cni.cncf.io/networks': 'storage' } }],
  ['a Service', { labels: { app: 'checkout' } }],
  ['an injector by label', { labels: { 'sidecar.istio.io/inject': 'true' } }],
  ['the scheduler', { priorityClassName: 'system-node-critical' }],
  ['the other critical class', { priorityClassName: 'system-cluster-critical' }],
  ['another runtime', { runtimeClassName: 'kata-privileged' }],
  ['a device plugin', { resources: { limits: { 'example.com/fuse': 1 } } }],
  ['huge pages', { resources: { requests: { 'hugepages-2Mi': '2Mi' } } }],
])('what is for %s is refused, whatever else is allowed', (_, runner) => {
  expect(refused(runner)).toMatch(/^spec\.runner\.\S+: ".+" is not allowed \(allowed: (nothing|cpu, memory)/);
  expect(refused(runner, some)).toMatch(/is not allowed/);
});

it('what is named is allowed: keys by how they begin, classes by their name', () => {
  const runner = {
    labels: { team: 'em', 'cost.example.com/centre': '7' },
    annotations: { 'sidecar.istio.io/inject': 'false' },
    priorityClassName: 'batch-low',
    runtimeClassName: 'gvisor',
    resources: { limits: { memory: '1Gi', 'ephemeral-storage': '1Gi' }, requests: { cpu: 1 } },
  };
  expect(refused(runner, some)).toBeUndefined();
  expect(refused({ ...runner, priorityClassName: 'batch-low-2' }, some)).toBe(
    'spec.runner.priorityClassName: "batch-low-2" is not allowed (allowed: batch-low); the administrator says what is, in controller.policiesMaySet.priorityClasses of the chart',
  );
  expect(refused({ labels: { 'x.team': '' } }, some)).toContain(
    '(allowed: keys that begin with team, cost.example.com/)',
  );
});

it.each([
  ['annotations', 'container.apparmor.security.beta.kubernetes.io/runner'],
  ['annotations', 'seccomp.security.alpha.kubernetes.io/pod'],
  ['labels', 'app.kubernetes.io/component'],
  ['labels', 'retention.agentdata.io/policy'],
] as const)('no list allows in %s the key %s', (field, key) => {
  const all: Allowed = { ...some, [field]: [key, key.slice(0, 3)] };
  expect(refused({ [field]: { [key]: 'x' } }, all)).toContain(`"${key}" is not allowed`);
});

it('a policy without spec.runner asks for nothing', () => {
  expect(notAllowed(policyWith().spec, nothingAllowed)).toBeUndefined();
});
