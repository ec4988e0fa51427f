import { PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type CronJob, resources } from '../../src/controller/objects.ts';
import { isNotFound } from '../../src/kubernetes/api-error.ts';
import type { KubernetesObject, Resource } from '../../src/kubernetes/types.ts';
import { adminClient, installOperator, runnerImage, startController } from '../support/controller.ts';
import { eventually, soon } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf, Policies } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
let controller: Awaited<ReturnType<typeof startController>>;
let namespace: string;
let policies: Policies;

beforeAll(async () => {
  await installOperator(cluster);
  controller = await startController(cluster, { relistMs: 2_000 });
});
afterAll(() => controller?.stop());
beforeEach(async () => {
  namespace = await cluster.createNamespace();
  policies = new Policies(client, namespace);
});

const cronJobNamed = (name: string) => client.get(resources.cronJobs, { namespace, name });
const cronJobNames = async () =>
  (await client.list(resources.cronJobs, { namespace })).items.map(({ metadata }) => metadata.name).sort();

/** The CronJob, once it fits. */
function cronJobWhich(name: string, what: string, fits: (cronJob: CronJob) => boolean): Promise<CronJob> {
  return eventually(
    `CronJob ${name} ${what}`,
    async () => {
      const cronJob = await cronJobNamed(name).catch(() => undefined);
      return cronJob && fits(cronJob) && cronJob;
      // The garbage collector looks for new kinds, such as ours, every 30 s.
    },
    { seconds: 75 },
  );
}

/** Somebody changes fields by hand. */
function edit<T extends KubernetesObject>(resource: Resource<T>, name: string, fields: object): Promise<T> {
  const body = { ...fields, metadata: { ...(fields as Partial<T>).metadata, namespace, name } };
  return client.apply(resource, body as never, { fieldManager: 'somebody', force: true });
}

/** A quota of no CronJob, however many there are. */
async function forbidMore(): Promise<void> {
  const resource = 'cronjobs.batch';
  const hard = { [`count/${resource}`]: '0' };
  await cluster.core.createNamespacedResourceQuota({ namespace, body: { metadata: { name: 'none' }, spec: { hard } } });
  // The controller that would count is not running here.
  await cluster.core.patchNamespacedResourceQuotaStatus(
    { namespace, name: 'none', body: { status: { hard, used: { [`count/${resource}`]: '0' } } } },
    setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
  );
  // An API server takes a moment to see it.
  const tried = ['create', 'cronjob', 'tried', '--image=x', '--schedule=@yearly', '-n', namespace, '--dry-run=server'];
  await vi.waitFor(async () => expect((await cluster.kubectl(tried)).stderr).toContain('exceeded quota'), soon);
}

async function eventsAbout(name: string): Promise<string[]> {
  const fieldSelector = `involvedObject.kind=RetentionPolicy,involvedObject.name=${name}`;
  const { items } = await client.list(resources.events, { namespace, fieldSelector });
  return items.map(({ reason, message }) => `${reason}: ${message}`);
}

describe('a policy that is applied', () => {
  it('gets a CronJob, and an account for its runs that may patch its status only', async () => {
    await policies.apply('smartem', { schedule: '17 3 * * *', timeZone: 'Europe/London' });
    const status = await policies.settled('smartem', 'Ready', 'True');
    expect(status).toMatchObject({
      observedGeneration: 1,
      effective: { preset: 'ScientificCompliance', batchSize: 500 },
      jobs: [
        { name: 'cleanup', cronJob: 'smartem-cleanup', schedule: '17 3 * * *', timeZone: 'Europe/London', active: 0 },
      ],
      nextRun: expect.stringMatching(/^\d{4}-\d\d-\d\dT0[23]:17:00Z$/),
    });
    expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'Unknown', reason: 'NoRunYet' });
    expect(status.conditions).toHaveLength(2);

    const { spec } = await cronJobNamed('smartem-cleanup');
    expect(spec).toMatchObject({ schedule: '17 3 * * *', timeZone: 'Europe/London', concurrencyPolicy: 'Forbid' });
    const { containers, serviceAccountName } = spec!.jobTemplate.spec!.template.spec!;
    expect(containers[0]).toMatchObject({ image: runnerImage, args: ['run'] });
    expect(serviceAccountName).toBe('retention-smartem');

    const account = `--as=system:serviceaccount:${namespace}:retention-smartem`;
    const may = async (...what: string[]) =>
      (await cluster.kubectl(['auth', 'can-i', ...what, '-n', namespace, account])).stdout.trim();
    const [own, other] = ['smartem', 'other'].map((name) => `retentionpolicies.retention.agentdata.io/${name}`);
    // An API server takes a moment to see a Role.
    await vi.waitFor(async () => expect(await may('patch', own!, '--subresource=status')).toBe('yes'), soon);
    expect(await may('patch', other!, '--subresource=status')).toBe('no');
    expect(await may('patch', own!)).toBe('no');
    expect(await may('get', 'secrets')).toBe('no');
  });

  it('is shown by kubectl with what a person wants to know', async () => {
    await policies.apply('smartem', { schedule: '17 3 * * *' });
    await policies.settled('smartem', 'Ready', 'True');
    const { stdout } = await cluster.kubectl(['get', 'retpol', '-n', namespace]);
    expect(stdout).toMatch(/NAME +PRESET +SCHEDULE +SUSPENDED +READY +LAST RUN +RESULT +ROWS +NEXT +AGE/);
    expect(stdout).toMatch(/smartem +ScientificCompliance +17 3 \* \* \* +false +True +\S+T03:17:00Z/);
    const events = ['CronJobCreated: Made CronJob smartem-cleanup'];
    await vi.waitFor(async () => expect(await eventsAbout('smartem')).toEqual(events), soon);
  });

  it('changes its CronJobs when its schedule, time zone, suspension or jobs change', async () => {
    await policies.apply('smartem', { schedule: '0 3 * * *' });
    const first = await policies.settled('smartem', 'Ready', 'True');

    await policies.apply('smartem', { schedule: '0 4 * * *', timeZone: 'Europe/London' });
    const moved = await policies.settled('smartem', 'Ready', 'True');
    expect((await cronJobNamed('smartem-cleanup')).spec).toMatchObject({
      schedule: '0 4 * * *',
      timeZone: 'Europe/London',
    });
    expect(moved.jobs).toMatchObject([{ schedule: '0 4 * * *' }]);
    expect(moved.nextRun).not.toBe(first.nextRun);

    await policies.apply('smartem', { schedule: '0 4 * * *', suspend: true });
    const suspended = await policies.settled('smartem', 'Ready', 'True');
    expect(conditionOf(suspended, 'Ready')).toMatchObject({ reason: 'Suspended' });
    expect(suspended.nextRun).toBeUndefined();
    expect((await cronJobNamed('smartem-cleanup')).spec).toMatchObject({ suspend: true });

    await policies.apply('smartem', {
      jobs: [{ name: 'heartbeat', schedule: '*/15 * * * *', operations: ['connections'] }, { name: 'nightly' }],
      statistics: { schedule: '0 * * * *' },
    });
    const split = await policies.settled('smartem', 'Ready', 'True');
    expect(await cronJobNames()).toEqual(['smartem-heartbeat', 'smartem-nightly', 'smartem-statistics']);
    expect(split.jobs!.map(({ name, schedule }) => [name, schedule])).toEqual([
      ['heartbeat', '*/15 * * * *'],
      ['nightly', '0 0 1 1 *'],
      ['statistics', '0 * * * *'],
    ]);
    expect(split.nextRun).toBe(split.jobs![0]!.nextRun);
  });

  it('takes all that it made with it when it is deleted', async () => {
    await policies.apply('smartem', { statistics: { schedule: '0 * * * *' } });
    await policies.settled('smartem', 'Ready', 'True');
    await policies.delete('smartem');
    const ours = { namespace, labelSelector: 'retention.agentdata.io/policy=smartem' };
    const gone = async () => {
      const kinds = [resources.cronJobs, resources.serviceAccounts, resources.roles, resources.roleBindings];
      const lists = await Promise.all(kinds.map((kind) => client.list(kind as Resource, ours)));
      return lists.every(({ items }) => items.length === 0);
    };
    // The garbage collector looks for new kinds, such as ours, every 30 s.
    await eventually('everything to be gone', gone, { seconds: 75 });
  });

  it('is one of many: each gets its own', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `policy-${index}`);
    const spec = (name: string) => ({ database: { secretRef: { name } } });
    await Promise.all(names.map((name) => policies.apply(name, spec(name))));
    await Promise.all(names.map((name) => policies.settled(name, 'Ready', 'True')));
    await Promise.all(names.map((name) => policies.apply(name, { ...spec(name), suspend: true })));
    for (const name of names) {
      const status = await policies.settled(name, 'Ready', 'True');
      expect(conditionOf(status, 'Ready')!.reason).toBe('Suspended');
    }
    expect(await cronJobNames()).toEqual(names.map((name) => `${name}-cleanup`).sort());
  });
});

it('a policy whose jobs are refused shows those that are there, suspended; a job that it no longer has is gone', async () => {
  const schedule = '5-3 * * * *';
  await policies.apply('smartem', {
    jobs: [
      { name: 'a', operations: ['sessions'] },
      { name: 'b', operations: ['connections'] },
    ],
  });
  await policies.settled('smartem', 'Ready', 'True');
  await policies.apply('smartem', { jobs: [{ name: 'a', schedule, operations: ['sessions'] }] });
  const status = await policies.settled('smartem', 'Stalled', 'True');
  expect(conditionOf(status, 'Stalled')).toMatchObject({ reason: 'InvalidSchedule', observedGeneration: 2 });
  expect(status.jobs).toEqual([
    {
      name: 'a',
      cronJob: 'smartem-a',
      schedule: '0 0 1 1 *',
      timeZone: 'Etc/UTC',
      scheduledSince: expect.any(String),
      active: 0,
    },
  ]);
  expect(await cronJobNames()).toEqual(['smartem-a']);
  expect((await cronJobNamed('smartem-a')).spec!.suspend).toBe(true);
});

describe('while something is refused for now', () => {
  const two = [
    { name: 'a', operations: ['sessions'] },
    { name: 'b', operations: ['connections'] },
  ];
  const more = [two[0], { name: 'c', operations: ['instructions'] }];
  beforeEach(async () => {
    await policies.apply('smartem', { jobs: two, preset: 'Development' });
    await policies.settled('smartem', 'Ready', 'True');
    await forbidMore();
  });

  it('a suspension and a job that has left the spec are seen to at once; the values in force are still shown', async () => {
    await policies.apply('smartem', { jobs: more, suspend: true });
    const status = await policies.settled('smartem', 'Reconciling', 'True');
    expect(await cronJobNames()).toEqual(['smartem-a']);
    expect((await cronJobNamed('smartem-a')).spec!.suspend).toBe(true);
    expect(status.effective).toMatchObject({ preset: 'Development' });
  });
});

it('a policy whose CronJob a quota refuses says so, and is tried again until it is there', async () => {
  await forbidMore();
  await policies.apply('smartem');
  const status = await policies.settled('smartem', 'Reconciling', 'True');
  expect(conditionOf(status, 'Ready')).toMatchObject({
    status: 'False',
    reason: 'QuotaExceeded',
    observedGeneration: 1,
  });
  expect(conditionOf(status, 'Ready')!.message).toContain('exceeded quota');
  expect(conditionOf(status, 'Stalled')).toBeUndefined();
  await cluster.core.deleteNamespacedResourceQuota({ namespace, name: 'none' });
  const cured = await policies.settled('smartem', 'Ready', 'True');
  expect(conditionOf(cured, 'Reconciling')).toBeUndefined();
});

describe('what a policy made', () => {
  beforeEach(async () => {
    await policies.apply('smartem', { schedule: '0 3 * * *' });
    await policies.settled('smartem', 'Ready', 'True');
  });

  it('is put back when it is edited, and foreign fields are left alone', async () => {
    await edit(resources.cronJobs, 'smartem-cleanup', {
      metadata: { annotations: { 'example.com/note': 'keep me' } },
      spec: { schedule: '0 0 31 12 *', jobTemplate: { spec: { ttlSecondsAfterFinished: 99 } } },
    });
    const { metadata, spec } = await cronJobWhich(
      'smartem-cleanup',
      'put back',
      ({ spec }) => spec!.schedule === '0 3 * * *',
    );
    expect(metadata.annotations).toEqual({ 'example.com/note': 'keep me' });
    expect(spec!.jobTemplate.spec!.ttlSecondsAfterFinished).toBe(99);
    await eventually('an Event', async () =>
      (await eventsAbout('smartem')).some((event) => event.startsWith('CronJobUpdated')),
    );
  });

  it('is made again when it is deleted', async () => {
    const { uid } = (await cronJobNamed('smartem-cleanup')).metadata;
    await client.delete(resources.cronJobs, { namespace, name: 'smartem-cleanup' });
    await cronJobWhich('smartem-cleanup', 'made again', ({ metadata }) => metadata.uid !== uid);
    const name = 'retention-smartem';
    await client.delete(resources.serviceAccounts, { namespace, name });
    await client.delete(resources.roleBindings, { namespace, name });
    for (const kind of [resources.serviceAccounts, resources.roleBindings] as Resource[]) {
      await eventually(`${kind.kind} made again`, () => client.get(kind, { namespace, name }).catch(() => undefined));
    }
  });

  it('is found again when its label was taken off', async () => {
    const label = 'retention.agentdata.io/policy';
    const { code, stderr } = await cluster.kubectl([
      'label',
      'cronjob',
      'smartem-cleanup',
      '-n',
      namespace,
      `${label}-`,
    ]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    await cronJobWhich('smartem-cleanup', 'labelled again', ({ metadata }) => metadata.labels?.[label] === 'smartem');
  });

  it('has its rights put back when they are widened', async () => {
    const rules = [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'] }];
    await edit(resources.roles, 'retention-smartem', { rules });
    await eventually('the Role to be put back', async () => {
      const role = await client.get(resources.roles, { namespace, name: 'retention-smartem' });
      return role.rules!.every((rule) => rule.resources!.includes('retentionpolicies/status'));
    });
  });
});

describe('a name that somebody else has', () => {
  const foreign = {
    metadata: { name: 'smartem-b' },
    spec: {
      schedule: '0 0 1 1 *',
      jobTemplate: {
        spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'x', image: 'x' }] } } },
      },
    },
  };

  it('is left to them, and nothing else of the policy is made until it is free', async () => {
    const theirs = await edit(resources.cronJobs, 'smartem-b', foreign);
    await policies.apply('smartem', {
      jobs: [
        { name: 'a', operations: ['sessions'] },
        { name: 'b', operations: ['connections'] },
      ],
    });
    const status = await policies.settled('smartem', 'Stalled', 'True');
    expect(conditionOf(status, 'Stalled')).toMatchObject({ reason: 'NameConflict' });
    expect(conditionOf(status, 'Stalled')!.message).toContain('CronJob smartem-b');
    expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'False', observedGeneration: 1 });
    expect(await cronJobNames()).toEqual(['smartem-b']);
    expect((await cronJobNamed('smartem-b')).metadata.resourceVersion).toBe(theirs.metadata.resourceVersion);
    await eventually('an Event', async () =>
      (await eventsAbout('smartem')).some((event) => event.startsWith('NameConflict')),
    );

    await client.delete(resources.cronJobs, { namespace, name: 'smartem-b' });
    const lifted = await policies.settled('smartem', 'Ready', 'True');
    expect(conditionOf(lifted, 'Stalled')).toBeUndefined();
    expect(await cronJobNames()).toEqual(['smartem-a', 'smartem-b']);
  });

  it('is a service account’s too', async () => {
    await edit(resources.serviceAccounts, 'retention-smartem', {});
    await policies.apply('smartem');
    const status = await policies.settled('smartem', 'Stalled', 'True');
    expect(conditionOf(status, 'Stalled')!.message).toContain('ServiceAccount retention-smartem');
    expect(await cronJobNames()).toEqual([]);
  });

  it('is another policy’s, if both make the same one', async () => {
    await policies.apply('a', { jobs: [{ name: 'b-c', operations: ['sessions'] }] });
    await policies.settled('a', 'Ready', 'True');
    await policies.apply('a-b', { database: { secretRef: { name: 'other' } }, jobs: [{ name: 'c' }] });
    const status = await policies.settled('a-b', 'Stalled', 'True');
    expect(conditionOf(status, 'Stalled')!.message).toContain('RetentionPolicy a');
    expect(await cronJobNames()).toEqual(['a-b-c']);
  });
});

it('a policy that is deleted and made again at once gets its own CronJob', async () => {
  await policies.apply('smartem');
  await policies.settled('smartem', 'Ready', 'True');
  const { uid } = (await cronJobNamed('smartem-cleanup')).metadata;
  await policies.delete('smartem');
  await eventually('the policy to be gone', () => policies.get('smartem').then(() => false, isNotFound));
  const { metadata } = await policies.apply('smartem');
  await cronJobWhich('smartem-cleanup', 'of the new policy', (cronJob) => {
    return cronJob.metadata.uid !== uid && cronJob.metadata.ownerReferences![0]!.uid === metadata.uid;
  });
  await policies.settled('smartem', 'Ready', 'True');
});
