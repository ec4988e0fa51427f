import { beforeAll, describe, expect, it, test, vi } from 'vitest';
import { installOperator } from '../support/controller.ts';
import { eventually, soon } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';

const cluster = useCluster();
const controller = 'system:serviceaccount:retention-system:retention-controller';
let namespace: string;

beforeAll(async () => {
  await installOperator(cluster);
  namespace = await cluster.createNamespace();
});

/** Whether the API server would let this user do that. */
async function can(user: string, verb: string, resource: string, ...options: string[]): Promise<boolean> {
  const { stdout } = await cluster.kubectl(['auth', 'can-i', verb, resource, `--as=${user}`, ...options]);
  return stdout.trim() === 'yes';
}

describe('the controller', () => {
  it.each([
    ['create', 'leases.coordination.k8s.io'],
    ['get', 'leases.coordination.k8s.io/retention-controller'],
    ['patch', 'leases.coordination.k8s.io/retention-controller'],
  ])('may %s %s in its own namespace, and in no other', async (verb, resource) => {
    // An API server takes a moment to see a Role.
    await vi.waitFor(async () => {
      expect(await can(controller, verb, resource, '-n', 'retention-system')).toBe(true);
    }, soon);
    expect(await can(controller, verb, resource, '-n', namespace)).toBe(false);
  });

  it.each<[string, string, ...string[]]>([
    ['update', 'leases.coordination.k8s.io/another'],
    ['delete', 'leases.coordination.k8s.io/retention-controller'],
    ['get', 'secrets'],
    ['list', 'secrets'],
    ['get', 'configmaps'],
    ['create', 'pods'],
    ['create', 'pods', '--subresource=exec'],
    ['create', 'serviceaccounts', '--subresource=token'],
    ['impersonate', 'serviceaccounts'],
    ['escalate', 'roles.rbac.authorization.k8s.io'],
    ['bind', 'roles.rbac.authorization.k8s.io'],
    ['escalate', 'clusterroles.rbac.authorization.k8s.io'],
    ['create', 'clusterrolebindings.rbac.authorization.k8s.io'],
    ['patch', 'retentionpolicies.retention.agentdata.io'],
    ['delete', 'retentionpolicies.retention.agentdata.io'],
    ['patch', 'validatingadmissionpolicies.admissionregistration.k8s.io'],
    ['patch', 'customresourcedefinitions.apiextensions.k8s.io'],
    ['patch', 'deployments.apps'],
    ['update', 'jobs.batch'],
    ['delete', 'serviceaccounts'],
    ['delete', 'roles.rbac.authorization.k8s.io'],
    ['delete', 'rolebindings.rbac.authorization.k8s.io'],
  ])('may not %s %s, not even in its own namespace', async (verb, resource, ...options) => {
    expect(await can(controller, verb, resource, '-n', 'retention-system', ...options)).toBe(false);
  });
});

describe('whoever has the controller’s token', () => {
  /** As the controller, on an object of somebody else's. */
  const patch = (object: string, change: object) =>
    cluster.kubectl([
      'patch',
      object,
      '-n',
      namespace,
      `--as=${controller}`,
      '--type=merge',
      '-p',
      JSON.stringify(change),
    ]);

  beforeAll(async () => {
    const make = async (...args: string[]) => {
      expect(await cluster.kubectl(['create', ...args, '-n', namespace])).toMatchObject({ code: 0 });
    };
    await make('role', 'theirs', '--verb=get', '--resource=configmaps');
    await make('rolebinding', 'theirs', '--clusterrole=admin', '--user=somebody');
    await make('serviceaccount', 'theirs');
  });

  it.each([
    ['patch', 'cronjobs.batch/theirs'],
    ['delete', 'cronjobs.batch/theirs'],
    ['patch', 'jobs.batch/theirs'],
    ['delete', 'jobs.batch/theirs'],
    ['patch', 'serviceaccounts/theirs'],
  ])('may %s %s', async (verb, object) => {
    expect(await can(controller, verb, object, '-n', namespace)).toBe(true);
  });

  it('may take rights out of a Role, and not put any in that the controller has not', async () => {
    const rules = (verb: string) => ({ rules: [{ apiGroups: [''], resources: ['secrets'], verbs: [verb] }] });
    expect((await patch('role/theirs', rules('get'))).stderr).toContain('attempting to grant RBAC permissions');
    expect(await patch('role/theirs', { rules: [] })).toMatchObject({ code: 0 });
  });

  it('may not change whom a RoleBinding names, and may have it deleted as garbage', async () => {
    const subjects = [{ kind: 'User', name: 'thief', apiGroup: 'rbac.authorization.k8s.io' }];
    const binding = 'rolebinding/theirs';
    expect((await patch(binding, { subjects })).stderr).toContain('attempting to grant RBAC permissions');
    const uid = '00000000-0000-4000-8000-000000000000';
    const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'gone', uid }];
    expect(await patch(binding, { metadata: { ownerReferences } })).toMatchObject({ code: 0 });
    await eventually('the RoleBinding to be gone', async () => {
      const { stdout } = await cluster.kubectl(['get', binding, '-n', namespace, '--ignore-not-found', '-o', 'name']);
      return stdout === '';
    });
  });
});

test.each([
  ['view', { read: true, write: false, status: false }],
  ['edit', { read: true, write: true, status: false }],
  ['admin', { read: true, write: true, status: true }],
])('who has the role %s in a namespace has the same on its policies', async (role, expected) => {
  const user = `user-${role}`;
  const bind = ['create', 'rolebinding', user, `--clusterrole=${role}`, `--user=${user}`, '-n', namespace];
  expect(await cluster.kubectl(bind)).toMatchObject({ code: 0 });
  const policies = 'retentionpolicies.retention.agentdata.io';
  const here = ['-n', namespace];
  // The roles are put together in the background.
  await eventually(`${role} to be aggregated`, () => can(user, 'list', policies, ...here));
  await eventually(`${role} to be what it should be`, async () => {
    const found = {
      read: await can(user, 'get', policies, ...here),
      write: await can(user, 'delete', policies, ...here),
      status: await can(user, 'patch', policies, '--subresource=status', ...here),
    };
    return JSON.stringify(found) === JSON.stringify(expected);
  });
  expect(await can(user, 'list', policies, '-n', 'default')).toBe(false);
});
