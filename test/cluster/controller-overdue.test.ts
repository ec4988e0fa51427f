import { PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runFieldManager } from '../../src/api/policy.ts';
import { resources, timestamp } from '../../src/controller/objects.ts';
import { adminClient, installOperator, startController } from '../support/controller.ts';
import { runOf } from '../support/controller-objects.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';
import { conditionOf, Policies } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
const kubectl = strictly(cluster.kubectl);
const inDays = (count: number) => new Date(Date.now() + count * 86_400_000);
let controller: Awaited<ReturnType<typeof startController>> | undefined;
let policies: Policies;

beforeAll(() => installOperator(cluster));
beforeEach(async () => {
  policies = new Policies(client, await cluster.createNamespace());
});
afterEach(async () => {
  await controller?.stop();
  controller = undefined;
});

const start = async (days = 0) => {
  await controller?.stop();
  controller = await startController(cluster, { namespaces: [policies.namespace], now: () => inDays(days) });
};

/** A run's success, as the run itself writes it. */
function succeeded(completionTime: Date) {
  const lastRun = runOf('cleanup', { id: 'smartem-cleanup-1', completionTime: timestamp(completionTime) });
  const status = { jobs: [{ name: 'cleanup', lastRun }] };
  const options = { fieldManager: runFieldManager('cleanup'), force: true, subresource: 'status' } as const;
  return client.apply(
    resources.policies,
    { metadata: { namespace: policies.namespace, name: 'smartem' }, status },
    options,
  );
}

/** Refuses all new CronJobs of the namespace by this, until the function that it returns is called. */
type Refusal = () => Promise<() => Promise<void>>;

/** Waits until the API server refuses a CronJob with these words. */
const refusedWith = (words: string) =>
  eventually(`CronJobs to be refused: ${words}`, async () => {
    const { namespace } = policies;
    const { stderr } = await cluster.kubectl([
      'create',
      'cronjob',
      'tried',
      '-n',
      namespace,
      '--schedule=@yearly',
      '--image=x',
    ]);
    if (stderr.includes(words)) return true;
    await cluster.kubectl(['delete', 'cronjob', 'tried', '-n', namespace, '--ignore-not-found']);
    return false;
  });

const byQuota: Refusal = async () => {
  const { namespace } = policies;
  const hard = { 'count/cronjobs.batch': '0' };
  await cluster.core.createNamespacedResourceQuota({ namespace, body: { metadata: { name: 'none' }, spec: { hard } } });
  // The controller that would count is not running here.
  await cluster.core.patchNamespacedResourceQuotaStatus(
    { namespace, name: 'none', body: { status: { hard, used: hard } } },
    setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
  );
  await refusedWith('exceeded quota: none');
  return async () => void (await kubectl(['delete', 'quota', 'none', '-n', namespace]));
};

const byRights: Refusal = async () => {
  const role = JSON.parse(await kubectl(['get', 'clusterrole', 'retention-controller', '-o', 'json']));
  const { rules } = role as { rules: { resources: string[] }[] };
  const path = `/rules/${rules.findIndex((rule) => rule.resources.includes('cronjobs'))}/verbs`;
  const patch = JSON.stringify([{ op: 'replace', path, value: ['get', 'list', 'watch', 'patch', 'delete'] }]);
  await kubectl(['patch', 'clusterrole', 'retention-controller', '--type=json', '-p', patch]);
  const account = 'system:serviceaccount:retention-system:retention-controller';
  const asked = ['auth', 'can-i', 'create', 'cronjobs', '-n', policies.namespace, `--as=${account}`];
  await eventually('the right to be gone', async () => (await cluster.kubectl(asked)).stdout.trim() === 'no');
  return () => installOperator(cluster);
};

const byAdmission: Refusal = async () => {
  const { namespace } = policies;
  const name = `no-cronjobs-${namespace}`;
  const api = { apiVersion: 'admissionregistration.k8s.io/v1', metadata: { name } };
  const rule = { apiGroups: ['batch'], apiVersions: ['*'], resources: ['cronjobs'], operations: ['CREATE'] };
  const validations = [{ expression: 'false', message: 'no cronjobs today' }];
  const matchResources = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } } };
  const items = [
    { ...api, kind: 'ValidatingAdmissionPolicy', spec: { matchConstraints: { resourceRules: [rule] }, validations } },
    {
      ...api,
      kind: 'ValidatingAdmissionPolicyBinding',
      spec: { policyName: name, validationActions: ['Deny'], matchResources },
    },
  ];
  await kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  await refusedWith('no cronjobs today');
  return async () =>
    void (await kubectl(['delete', 'validatingadmissionpolicybinding,validatingadmissionpolicy', name]));
};

describe('a healthy policy whose CronJob is gone, and refused', () => {
  it.each([
    ['by a quota', byQuota],
    ['by missing rights', byRights],
    ['by an admission policy', byAdmission],
  ])('%s, is overdue when two of its periods have passed', async (_, refuse) => {
    await start();
    await policies.apply('smartem', { schedule: '0 3 * * *' });
    await policies.settled('smartem', 'Ready', 'True');
    await succeeded(new Date());
    await policies.settled('smartem', 'LastRunSucceeded', 'True');
    await controller!.stop();
    const allow = await refuse();
    try {
      await client.delete(resources.cronJobs, { namespace: policies.namespace, name: 'smartem-cleanup' });
      await start();
      const early = await policies.settled('smartem', 'Ready', 'False');
      expect(early.jobs).toMatchObject([{ schedule: '0 3 * * *', scheduledSince: expect.any(String) }]);
      expect(conditionOf(early, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
      await start(4);
      const late = await policies.settled('smartem', 'LastRunSucceeded', 'False');
      expect(conditionOf(late, 'Ready')).toMatchObject({ status: 'False' });
      expect(conditionOf(late, 'LastRunSucceeded')).toMatchObject({
        reason: 'Overdue',
        message: expect.stringContaining('it has no CronJob, see condition Ready'),
      });
    } finally {
      await allow();
    }
  });
});

it('a run whose clock was ahead puts off nothing', async () => {
  await start();
  await policies.apply('smartem', { schedule: '0 3 * * *' });
  await policies.settled('smartem', 'Ready', 'True');
  await succeeded(inDays(30));
  const good = await policies.settled('smartem', 'LastRunSucceeded', 'True');
  expect(good.jobs![0]!.lastRun!.completionTime > timestamp(inDays(29))).toBe(true);
  const known = good.jobs![0]!.lastSuccessTime!;
  expect(Date.parse(known)).toBeLessThanOrEqual(Date.now());

  await start(4);
  const late = await policies.settled('smartem', 'LastRunSucceeded', 'False');
  expect(conditionOf(late, 'LastRunSucceeded')).toMatchObject({
    reason: 'Overdue',
    message: expect.stringContaining(`has not succeeded since ${known}`),
  });
});
