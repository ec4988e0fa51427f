import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { resources } from '../../src/controller/objects.ts';
import { type Admission, type Mutation, mutate } from '../support/admission.ts';
import { adminClient, controllerConnection, installOperator, startController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { type CountingProxy, startCountingProxy } from '../support/kubernetes/counting-proxy.ts';
import { conditionOf, Policies } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
let proxy: CountingProxy;
let policies: Policies;
let controller: Awaited<ReturnType<typeof startController>> | undefined;
let admission: Admission | undefined;

beforeAll(() => installOperator(cluster));
beforeEach(async () => {
  proxy = await startCountingProxy(await controllerConnection(cluster));
  policies = new Policies(client, await cluster.createNamespace());
});
afterEach(async () => {
  await controller?.stop();
  await proxy.close();
  await admission?.end();
});

const start = async () => {
  const { connection } = proxy;
  controller = await startController(cluster, { connection, namespaces: [policies.namespace], relistMs: 300 });
};
const cronJob = () => client.get(resources.cronJobs, { namespace: policies.namespace, name: 'smartem-cleanup' });
const eventsOf = async (reason: string) =>
  (await client.list(resources.events, { namespace: policies.namespace })).items.filter(
    (event) => event.reason === reason,
  );
/** Waits for several resyncs, each of which reconciles everything. */
const resyncs = async (count: number) => {
  const lists = proxy.lists();
  await eventually(`${count} resyncs`, async () => proxy.lists() >= lists + count);
};
const runner = '/spec/jobTemplate/spec/template/spec/containers/0';

describe('a CronJob that an admission policy changes on its way in', () => {
  it.each<[string, Mutation, RegExp]>([
    [
      'suspend',
      { op: 'replace', path: '/spec/suspend', value: 'true' },
      /CronJob smartem-cleanup \(spec\.suspend is true\)/,
    ],
    ['the schedule', { op: 'replace', path: '/spec/schedule', value: "'0 0 2 2 *'" }, /spec\.schedule is "0 0 2 2 \*"/],
    [
      'an image that is not a copy of ours',
      { op: 'replace', path: `${runner}/image`, value: "'registry.invalid/default:1'" },
      /containers\[runner\]\.image is "registry\.invalid\/default:1"/,
    ],
    ['the arguments', { op: 'replace', path: `${runner}/args`, value: "['other']" }, /containers\[runner\]\.args\)/],
    [
      'what the run is asked for',
      { op: 'replace', path: `${runner}/env/0/value`, value: "'hidden'" },
      /containers\[runner\]\.env\[RETENTION_POLICY\]\.value\)/,
    ],
    [
      'the labels by which its Jobs are found and stopped',
      { op: 'add', path: '/spec/jobTemplate/metadata', value: '{"labels": {"team": "em"}}' },
      /jobTemplate\.metadata\.labels\.retention\.agentdata\.io\/policy/,
    ],
    [
      'the annotation without which its Jobs are taken for outdated',
      { op: 'add', path: '/spec/jobTemplate/metadata/annotations', value: '{"team": "em"}' },
      /jobTemplate\.metadata\.annotations\.retention\.agentdata\.io\/template-hash/,
    ],
    [
      'Jobs that never start',
      { op: 'add', path: '/spec/jobTemplate/spec/suspend', value: 'true' },
      /spec\.jobTemplate\.spec\.suspend/,
    ],
    [
      'Jobs of several runs at a time',
      { op: 'add', path: '/spec/jobTemplate/spec/parallelism', value: '3' },
      /spec\.jobTemplate\.spec\.parallelism/,
    ],
  ])('is not reported as in place: %s', async (_, mutation, words) => {
    admission = await mutate(cluster, policies.namespace, [mutation]);
    await start();
    await policies.apply('smartem');
    const ready = conditionOf(await policies.settled('smartem', 'Ready', 'False'), 'Ready')!;
    expect(ready.reason).toBe('ChangedByAdmission');
    expect(ready.message).toMatch(words);
    expect(ready.message).not.toContain('hidden');
  });

  it('is not written, nor told of, again and again; and is put right when the admission policy has gone', async () => {
    admission = await mutate(cluster, policies.namespace, [{ op: 'replace', path: '/spec/suspend', value: 'true' }]);
    await start();
    await policies.apply('smartem');
    await policies.settled('smartem', 'Ready', 'False');
    const { metadata } = await cronJob();
    const writes = () => proxy.writes().filter((write) => write.includes('/cronjobs/'));
    const from = writes().length;
    const since = Date.now();
    await resyncs(12);
    // Tried again after 1, 2, 4, … seconds, whatever the resyncs.
    const tries = Math.ceil(Math.log2(2 + (Date.now() - since) / 1000)) + 1;
    expect(writes().length - from).toBeLessThanOrEqual(tries);
    expect((await cronJob()).metadata).toMatchObject({
      resourceVersion: metadata.resourceVersion,
      generation: metadata.generation,
    });
    for (const reason of ['ChangedByAdmission', 'CronJobCreated']) {
      expect((await eventsOf(reason)).map(({ count }) => count)).toEqual([1]);
    }
    expect(await eventsOf('CronJobUpdated')).toEqual([]);

    await admission.end();
    await policies.settled('smartem', 'Ready', 'True');
    expect((await cronJob()).spec!.suspend).toBe(false);
  });

  it('is told of once, though each write makes another object of it', async () => {
    const label =
      'oldObject == null || !("n" in oldObject.metadata.labels) ? "a" : oldObject.metadata.labels["n"] + "a"';
    admission = await mutate(cluster, policies.namespace, [
      { op: 'replace', path: '/spec/suspend', value: 'true' },
      { op: 'add', path: '/metadata/labels/n', value: label },
    ]);
    await start();
    await policies.apply('smartem');
    await policies.settled('smartem', 'Ready', 'False');
    await eventually('it to be written again', async () => (await cronJob()).metadata.labels!.n === 'aaa');
    await resyncs(3);
    expect(await eventsOf('CronJobUpdated')).toEqual([]);
  });

  it('is written at once when the policy changes, and when somebody else changes it too', async () => {
    admission = await mutate(cluster, policies.namespace, [
      { op: 'replace', path: `${runner}/image`, value: "'mirror.invalid/copies/retention-operator:test'" },
    ]);
    await start();
    await policies.apply('smartem');
    await policies.settled('smartem', 'Ready', 'True');
    await resyncs(6);
    await policies.apply('smartem', { schedule: '0 0 3 3 *' });
    await eventually('the new schedule', async () => (await cronJob()).spec!.schedule === '0 0 3 3 *');
    const patch = { spec: { suspend: true } };
    await client.mergePatch(resources.cronJobs, (await cronJob()).metadata, patch, { fieldManager: 'somebody' });
    await eventually('it to be resumed', async () => (await cronJob()).spec!.suspend === false);
  });

  it.each<[string, Mutation[], RegExp]>([
    [
      'a mirror of the image is named',
      [{ op: 'replace', path: `${runner}/image`, value: "'mirror.invalid/copies/retention-operator:test'" }],
      /^In place: CronJob smartem-cleanup\. Changed by admission: CronJob smartem-cleanup \(.*image is "mirror\.invalid/,
    ],
    [
      'resources are named',
      [{ op: 'replace', path: `${runner}/resources`, value: '{"limits": {"memory": "300Mi"}}' }],
      /resources\.requests/,
    ],
    [
      'labels and containers that are added are nobody’s business',
      [
        { op: 'add', path: '/metadata/labels/team', value: '"em"' },
        { op: 'add', path: runner.replace('/0', '/-'), value: '{"name": "sidecar", "image": "sidecar"}' },
      ],
      /^In place: CronJob smartem-cleanup$/,
    ],
  ])('stays in place where it does the same: %s', async (_, mutations, words) => {
    admission = await mutate(cluster, policies.namespace, mutations);
    await start();
    await policies.apply('smartem');
    const ready = conditionOf(await policies.settled('smartem', 'Ready', 'True'), 'Ready')!;
    expect(ready.message).toMatch(words);
    expect((await cronJob()).metadata.annotations).toMatchObject({ mutated: 'yes' });
    await resyncs(3);
    expect(conditionOf(await policies.settled('smartem', 'Ready', 'True'), 'Ready')).toEqual(ready);
  });
});

it('a Job that was asked for and is changed on its way in is told of, but for what is added', async () => {
  // And it takes the other annotations.
  const job = '/spec/template/spec/containers/0';
  admission = await mutate(
    cluster,
    policies.namespace,
    [
      { op: 'replace', path: `${job}/args`, value: '["other"]' },
      { op: 'add', path: `${job}/env/-`, value: '{"name": "ADDED", "value": "hidden"}' },
      { op: 'add', path: '/metadata/labels/team', value: '"em"' },
    ],
    'jobs',
  );
  await start();
  await policies.apply('smartem');
  await policies.settled('smartem', 'Ready', 'True');
  await policies.ask('smartem');
  const [event] = await eventually('the Event', async () => {
    const events = await eventsOf('RunRequested');
    return events.length > 0 && events;
  });
  expect(event!.type).toBe('Warning');
  expect(event!.message).toMatch(
    /^Made Job .*; changed by admission: Job smartem-.* \(metadata\.annotations\.\S+\/template-hash, spec\.template\.spec\.containers\[runner\]\.args\)$/,
  );
});

it('a run is made that was asked for while an admission policy changes the CronJob', async () => {
  admission = await mutate(cluster, policies.namespace, [{ op: 'replace', path: '/spec/suspend', value: 'true' }]);
  await start();
  await policies.apply('smartem');
  await policies.settled('smartem', 'Ready', 'False');
  const at = await policies.ask('smartem');
  await policies.statusOf('smartem', 'the request', ({ lastHandledRunRequest }) => lastHandledRunRequest === at);
  expect((await client.list(resources.jobs, { namespace: policies.namespace })).items).toHaveLength(1);
});

it('a service account that an admission policy changes is not reported as in place either', async () => {
  const mutation = { op: 'add', path: '/automountServiceAccountToken', value: 'true' } as const;
  admission = await mutate(cluster, policies.namespace, [mutation], 'serviceaccounts');
  await start();
  await policies.apply('smartem');
  expect(conditionOf(await policies.settled('smartem', 'Ready', 'False'), 'Ready')).toMatchObject({
    reason: 'ChangedByAdmission',
    message: 'Changed by admission: ServiceAccount retention-smartem (automountServiceAccountToken)',
  });
});
