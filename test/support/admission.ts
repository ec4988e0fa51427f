import { expect } from 'vitest';
import { eventually } from './eventually.ts';
import type { Cluster } from './kubernetes/cluster.ts';

/** One operation of an RFC 6902 patch, whose value is a CEL expression. */
export type Mutation = { op: 'add' | 'replace'; path: string; value: string };

const groups = { cronjobs: 'batch', jobs: 'batch', roles: 'rbac.authorization.k8s.io', serviceaccounts: '' };
type Kind = keyof typeof groups;

/** An admission policy of one namespace, in force when this resolves; `end` takes it away. */
export interface Admission {
  end(): Promise<void>;
}

/** Changes these objects of a namespace on their way in. */
export function mutate(
  cluster: Cluster,
  namespace: string,
  mutations: Mutation[],
  on: Kind = 'cronjobs',
): Promise<Admission> {
  const patches = mutations.map(({ op, path, value }) => `JSONPatch{op: "${op}", path: "${path}", value: ${value}}`);
  // Seen on the way in by the probe, which nothing else changes.
  patches.push('JSONPatch{op: "add", path: "/metadata/annotations", value: {"mutated": "yes"}}');
  const spec = {
    failurePolicy: 'Fail',
    reinvocationPolicy: 'Never',
    mutations: [{ patchType: 'JSONPatch', jsonPatch: { expression: `[${patches.join(', ')}]` } }],
  };
  return begin(cluster, namespace, 'MutatingAdmissionPolicy', { spec, on }, /"mutated":\s*"yes"/);
}

/** Refuses these objects of a namespace with this message, while `unless`, a CEL expression, is false. */
export function deny(
  cluster: Cluster,
  namespace: string,
  { message, unless = 'false', on = 'cronjobs' }: { message: string; unless?: string; on?: Kind },
): Promise<Admission> {
  const spec = { validations: [{ expression: unless, message }] };
  return begin(cluster, namespace, 'ValidatingAdmissionPolicy', { spec, on }, new RegExp(message));
}

let count = 0;

async function begin(
  cluster: Cluster,
  namespace: string,
  kind: string,
  { spec, on }: { spec: object; on: Kind },
  seen: RegExp,
): Promise<Admission> {
  count += 1;
  const name = `${namespace}-${count}`;
  const api = { apiVersion: 'admissionregistration.k8s.io/v1', metadata: { name } };
  const resourceRules = [
    { apiGroups: [groups[on]], resources: [on], apiVersions: ['*'], operations: ['CREATE', 'UPDATE'] },
  ];
  const matchResources = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } } };
  const actions = kind.startsWith('Validating') ? { validationActions: ['Deny'] } : {};
  const objects = [
    { ...api, kind, spec: { ...spec, matchConstraints: { resourceRules } } },
    { ...api, kind: `${kind}Binding`, spec: { policyName: name, matchResources, ...actions } },
  ];
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  expect(await cluster.kubectl(['apply', '-f', '-'], { input })).toMatchObject({ code: 0 });
  const answer = async () => {
    const create = ['create', '-n', namespace, '--dry-run=server', '-o', 'json', '-f', '-'];
    const { stdout, stderr } = await cluster.kubectl(create, { input: JSON.stringify(probeOf(on)) });
    return seen.test(stdout + stderr);
  };
  await eventually(`${kind} ${name} to be in force`, answer);
  return {
    async end() {
      await cluster.kubectl(['delete', `${kind}Binding,${kind}`.toLowerCase(), name]);
      await eventually(`${kind} ${name} to be gone`, async () => !(await answer()));
    },
  };
}

/** Like ours as far as the mutations go. */
function probeOf(on: Kind): object {
  const metadata = { name: 'probe', labels: { probe: 'yes' } };
  if (on === 'serviceaccounts') return { apiVersion: 'v1', kind: 'ServiceAccount', metadata };
  if (on === 'roles') return { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata, rules: [] };
  const runner = { name: 'runner', image: 'probe', args: ['run'], env: [{ name: 'RETENTION_POLICY', value: '{}' }] };
  const job = { template: { spec: { restartPolicy: 'Never', containers: [runner] } } };
  if (on === 'jobs') return { apiVersion: 'batch/v1', kind: 'Job', metadata, spec: job };
  const spec = { schedule: '0 0 1 1 *', suspend: false, jobTemplate: { spec: job } };
  return { apiVersion: 'batch/v1', kind: 'CronJob', metadata, spec };
}
