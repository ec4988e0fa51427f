import { describe, expect, it, vi } from 'vitest';
import { runRequestedAtAnnotation } from '../../src/api/policy.ts';
import { type CronJob, isFinished, resources } from '../../src/controller/objects.ts';
import { isNotFound } from '../../src/kubernetes/api-error.ts';
import type { KubernetesObject, Resource } from '../../src/kubernetes/types.ts';
import { adminClient } from '../support/controller.ts';
import { eventually, soon } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf } from '../support/policies.ts';
import { useController } from '../support/use-controller.ts';

const cluster = useCluster();
const client = adminClient(cluster);
const policies = useController(cluster);

const two = {
  preset: 'Development',
  jobs: [
    { name: 'one', operations: ['connections'] },
    { name: 'two', operations: ['sessions'] },
  ],
};
const kinds = [resources.serviceAccounts, resources.roles, resources.roleBindings] as unknown as Resource[];

const cronJobs = async () => (await client.list(resources.cronJobs, { namespace: policies.namespace })).items;
const get = <T extends KubernetesObject>(resource: Resource<T>, name: string) =>
  client.get(resource, { namespace: policies.namespace, name });
const presetOf = ({ spec }: CronJob) => {
  const [request] = spec!.jobTemplate.spec!.template.spec!.containers[0]!.env!;
  return (JSON.parse(request!.value!) as { retention: { preset: string } }).retention.preset;
};
const ownersOf = ({ metadata }: KubernetesObject) => metadata.ownerReferences?.map(({ uid }) => uid) ?? [];
const events = async () =>
  (await client.list(resources.events, { namespace: policies.namespace })).items.map(
    ({ reason, message }) => `${reason}: ${message}`,
  );

/** A policy with two jobs, deleted with --cascade=orphan: all that was made for it stays. */
async function orphaned(annotations: Record<string, string> = {}): Promise<CronJob[]> {
  await policies.apply('smartem', two, annotations);
  await policies.settled('smartem', 'Ready', 'True');
  const { namespace } = policies;
  // What the garbage collector has not heard of when the policy goes it deletes, as what lost its owner.
  if (annotations[runRequestedAtAnnotation]) {
    await eventually('the run to have a Pod', async () => (await client.list(resources.pods, { namespace })).items[0]);
  }
  await client.delete(resources.policies, { namespace, name: 'smartem' }, { propagationPolicy: 'Orphan' });
  // The garbage collector looks for new kinds, such as ours, every 30 s.
  await eventually('the policy to be gone', () => policies.get('smartem').then(() => false, isNotFound), {
    seconds: 75,
  });
  const left = await cronJobs();
  expect(left.map((cronJob) => [cronJob.metadata.name, ownersOf(cronJob), cronJob.spec!.suspend])).toEqual([
    ['smartem-one', [], false],
    ['smartem-two', [], false],
  ]);
  return left;
}

describe('what a policy left that was deleted with --cascade=orphan', () => {
  it('is the new policy’s, in place of the old spec; a job that it does not have goes', async () => {
    const left = await orphaned();
    const sidecar = { name: 'sidecar', image: 'x' };
    const template = { spec: { containers: [sidecar] } };
    await client.apply(
      resources.cronJobs,
      {
        metadata: { namespace: policies.namespace, name: 'smartem-one' },
        spec: { jobTemplate: { spec: { template } } },
      } as never,
      { fieldManager: 'somebody' },
    );
    const { metadata } = await policies.apply('smartem', { preset: 'ScientificCompliance', jobs: [two.jobs[0]] });
    const status = await policies.settled('smartem', 'Ready', 'True');
    expect(status.conditions!.map(({ reason }) => reason)).not.toContain('NameConflict');
    const now = await cronJobs();
    expect(now.map((cronJob) => [cronJob.metadata.name, ownersOf(cronJob), presetOf(cronJob)])).toEqual([
      ['smartem-one', [metadata.uid], 'ScientificCompliance'],
    ]);
    // Nothing that others put into the old one is in the new one.
    expect(now[0]!.metadata.uid).not.toBe(left[0]!.metadata.uid);
    expect(now[0]!.spec!.jobTemplate.spec!.template.spec!.containers.map(({ name }) => name)).toEqual(['runner']);
    for (const kind of kinds) expect(ownersOf(await get(kind, 'retention-smartem'))).toEqual([metadata.uid]);
    const told = expect.stringMatching(/^OrphanDeleted: .*CronJob smartem-two/);
    await vi.waitFor(async () => expect(await events()).toContainEqual(told), soon);
  });

  it.each([
    ['is suspended', { suspend: true }],
    ['is Stalled by its time zone', { timeZone: 'Europe/Atlantis' }],
  ])('runs no longer when the new policy %s', async (_, spec) => {
    const left = await orphaned();
    await policies.apply('smartem', { ...two, ...spec });
    await policies.statusOf('smartem', 'to be seen', ({ observedGeneration }) => observedGeneration === 1);
    const uids = left.map((cronJob) => cronJob.metadata.uid);
    for (const { metadata, spec } of await cronJobs()) {
      expect([uids.includes(metadata.uid), spec!.suspend]).toEqual([false, true]);
    }
  });

  it('goes with its runs: a Job that was asked for of the former policy', async () => {
    await orphaned({ [runRequestedAtAnnotation]: new Date().toISOString() });
    const jobs = async () => (await client.list(resources.jobs, { namespace: policies.namespace })).items;
    expect((await jobs()).map((job) => [ownersOf(job), isFinished(job)])).toEqual([[[], false]]);
    await policies.apply('smartem', two);
    await eventually('the Job to be gone', async () => (await jobs()).length === 0);
    await policies.settled('smartem', 'Ready', 'True');
    const active = async () => (await policies.status('smartem')).jobs!.map((job) => job.active);
    await vi.waitFor(async () => expect(await active()).toEqual([0, 0]), soon);
  });

  it('is not what a finalizer “orphan” alone makes: a policy that is not being deleted is worked on', async () => {
    await policies.apply('smartem', two);
    await policies.settled('smartem', 'Ready', 'True');
    const patch = { metadata: { finalizers: ['orphan'] }, spec: { suspend: true } };
    const ref = { namespace: policies.namespace, name: 'smartem' };
    await client.mergePatch(resources.policies, ref, patch, { fieldManager: 'somebody' });
    await policies.settled('smartem', 'Ready', 'True');
    expect((await cronJobs()).map(({ spec }) => spec!.suspend)).toEqual([true, true]);
  });

  it('goes on by itself while there is no policy of that name', async () => {
    const left = await orphaned();
    await policies.apply('other');
    await policies.settled('other', 'Ready', 'True');
    const now = await cronJobs();
    for (const { metadata } of left) expect(now.map((cronJob) => cronJob.metadata.uid)).toContain(metadata.uid);
  });
});

describe('what is nobody’s of a policy that is there', () => {
  it('is made anew when somebody took away its owner', async () => {
    const { metadata } = await policies.apply('smartem', two);
    await policies.settled('smartem', 'Ready', 'True');
    const [first] = await cronJobs();
    const patch = { metadata: { ownerReferences: null } };
    await client.mergePatch(resources.cronJobs, first!.metadata, patch, { fieldManager: 'somebody' });
    await eventually('another CronJob', async () => {
      const now = await get(resources.cronJobs, 'smartem-one').catch(() => undefined);
      return now && now.metadata.uid !== first!.metadata.uid && ownersOf(now)[0] === metadata.uid;
    });
  });

  it('is deleted where somebody copied it under another name', async () => {
    await policies.apply('smartem', two);
    await policies.settled('smartem', 'Ready', 'True');
    const [{ metadata, ...first }] = (await cronJobs()) as [CronJob];
    const copy = { ...first, metadata: { namespace: metadata.namespace, name: 'copy', labels: metadata.labels } };
    await client.create(resources.cronJobs, copy as never);
    await eventually('the copy to be gone', async () =>
      (await cronJobs()).every((each) => each.metadata.name !== 'copy'),
    );
  });
});

describe('what is not ours is left alone, and stays in the way', () => {
  const labels = {
    'retention.agentdata.io/policy': 'smartem',
    'retention.agentdata.io/job': 'one',
    'app.kubernetes.io/managed-by': 'retention-controller',
  };
  const theirs = (env: object[] = [], name = 'smartem-one') => ({
    metadata: { namespace: policies.namespace, name, labels },
    spec: {
      schedule: '0 0 1 1 *',
      jobTemplate: {
        spec: {
          template: {
            spec: { restartPolicy: 'Never', containers: [{ name: 'runner', image: 'x', args: ['run'], env }] },
          },
        },
      },
    },
  });
  const conflict = async () => conditionOf(await policies.settled('smartem', 'Stalled', 'True'), 'Stalled')!;

  it.each([
    ['without our request', []],
    ['with what is none', [{ name: 'RETENTION_POLICY', value: '[' }]],
    ['with another policy’s', [{ name: 'RETENTION_POLICY', value: '{"policy":{"name":"x","namespace":"y"}}' }]],
  ])('a CronJob with our labels, %s', async (_, env) => {
    const made = await client.create(resources.cronJobs, theirs(env) as never);
    await policies.apply('smartem', two);
    expect(await conflict()).toMatchObject({
      reason: 'NameConflict',
      message: expect.stringContaining('CronJob smartem-one'),
    });
    expect((await get(resources.cronJobs, 'smartem-one')).metadata.resourceVersion).toBe(made.metadata.resourceVersion);
  });

  it('one that belongs to something else', async () => {
    const value = JSON.stringify({ policy: { name: 'smartem', namespace: policies.namespace } });
    const body = theirs([{ name: 'RETENTION_POLICY', value }]);
    const owner = await client.create(
      { apiVersion: 'v1', kind: 'ConfigMap', plural: 'configmaps', namespaced: true },
      { metadata: { namespace: policies.namespace, name: 'owner' } },
    );
    const reference = { apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid: owner.metadata.uid! };
    await client.create(resources.cronJobs, {
      ...body,
      metadata: { ...body.metadata, ownerReferences: [reference] },
    } as never);
    await policies.apply('smartem', two);
    expect(await conflict()).toMatchObject({ reason: 'NameConflict' });
  });

  it('a RoleBinding with our labels to another role, and a service account without them', async () => {
    const meta = { namespace: policies.namespace, name: 'retention-smartem' };
    await client.create(resources.roleBindings, {
      metadata: { ...meta, labels },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
    } as never);
    await policies.apply('smartem', two);
    expect((await conflict()).message).toContain('RoleBinding retention-smartem');
    await client.create(resources.serviceAccounts, { metadata: meta });
    await policies.apply('smartem', { ...two, history: { runs: 3 } });
    await policies.statusOf('smartem', 'the other conflict', (status) =>
      conditionOf(status, 'Stalled')?.message.includes('ServiceAccount retention-smartem'),
    );
  });
});
