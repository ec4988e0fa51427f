import { beforeEach, describe, expect, it } from 'vitest';
import { parseStatus, resources } from '../../src/controller/objects.ts';
import { adminClient } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf } from '../support/policies.ts';
import { useController } from '../support/use-controller.ts';

const cluster = useCluster();
const client = adminClient(cluster);
const policies = useController(cluster);

const jobs = [
  { name: 'one', operations: ['connections'] },
  { name: 'two', operations: ['sessions'] },
];
const cronJobs = async () =>
  (await client.list(resources.cronJobs, { namespace: policies.namespace })).items
    .map(({ metadata, spec }) => [metadata.name, spec!.suspend])
    .sort();
const isLive = async () =>
  expect(await cronJobs()).toEqual([
    ['smartem-one', false],
    ['smartem-two', false],
  ]);
const allSuspended = (names: string[], prefix = '') =>
  eventually(`${names} to be suspended`, async () => {
    const found = (await cronJobs()).filter(([name]) => String(name).startsWith(prefix));
    return JSON.stringify(found) === JSON.stringify(names.map((name) => [name, true]));
  });

describe('a policy that becomes Stalled runs nothing until it is repaired', () => {
  beforeEach(async () => {
    await policies.apply('smartem', { jobs, preset: 'Development' });
    await policies.settled('smartem', 'Ready', 'True');
    await isLive();
  });

  it.each([
    ['InvalidSchedule', { timeZone: 'Europe/Atlantis' }],
    ['InvalidSchedule', { schedule: '0 0 30 2 *' }],
    ['InvalidRunner', { runner: { resources: { limits: { cpu: '1' }, requests: { cpu: '2' } } } }],
  ])('by its %s; the values in force are still shown', async (reason, broken) => {
    await policies.apply('smartem', { jobs, preset: 'ScientificCompliance', ...broken });
    const stalled = await policies.settled('smartem', 'Stalled', 'True');
    expect(conditionOf(stalled, 'Stalled')).toMatchObject({ reason });
    expect(conditionOf(stalled, 'Ready')!.message).toMatch(/^No run starts until this is repaired: /);
    const { stdout } = await cluster.kubectl(['get', 'retpol', 'smartem', '-n', policies.namespace, '-o', 'wide']);
    const [header, row] = stdout.split('\n');
    expect(header).toMatch(/ AGE +MESSAGE$/);
    expect(row).toMatch(new RegExp(` False .* ${reason}: .*…$`));
    expect(Math.max(header!.length, row!.length)).toBeLessThanOrEqual(200);
    await allSuspended(['smartem-one', 'smartem-two']);
    expect(stalled.nextRun).toBeUndefined();
    expect(stalled.jobs!.map(({ nextRun }) => nextRun)).toEqual([undefined, undefined]);
    expect(stalled.effective).toMatchObject({ preset: 'Development', instructionRetentionDays: 7 });

    await policies.apply('smartem', { jobs, preset: 'ScientificCompliance' });
    const repaired = await policies.settled('smartem', 'Ready', 'True');
    await isLive();
    expect(repaired.nextRun).toBeDefined();
    expect(repaired.effective).toMatchObject({ preset: 'ScientificCompliance' });
  });

  it.each([
    [
      'spec.jobs[1].schedule "0 0 31 2,4,6,9,11 *"',
      { jobs: [jobs[0], { ...jobs[1], schedule: '0 0 31 2,4,6,9,11 *' }] },
    ],
    ['spec.statistics.schedule "0 0 30 feb *"', { jobs, statistics: { schedule: '0 0 30 feb *' } }],
    ['spec.schedule "30 4 31 apr,jun ?"', { jobs, schedule: '30 4 31 apr,jun ?' }],
  ])('by %s, which never fires and Kubernetes takes', async (words, broken) => {
    await policies.apply('smartem', { preset: 'ScientificCompliance', ...broken });
    const stalled = await policies.settled('smartem', 'Stalled', 'True');
    expect(conditionOf(stalled, 'Stalled')!.message).toContain(`${words} never fires`);
    await allSuspended(['smartem-one', 'smartem-two']);
  });

  it('by a name that somebody else has', async () => {
    const third = [...jobs, { name: 'zzz', operations: ['acknowledgements'] }];
    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'x', image: 'x' }] } };
    await client.apply(
      resources.cronJobs,
      {
        metadata: { namespace: policies.namespace, name: 'smartem-zzz' },
        spec: { schedule: '0 0 1 1 *', jobTemplate: { spec: { template } } },
      } as never,
      { fieldManager: 'somebody' },
    );
    await policies.apply('smartem', { jobs: third });
    const stalled = await policies.settled('smartem', 'Stalled', 'True');
    expect(conditionOf(stalled, 'Stalled')).toMatchObject({ reason: 'NameConflict' });
    expect(await cronJobs()).toEqual([
      ['smartem-one', true],
      ['smartem-two', true],
      ['smartem-zzz', false],
    ]);
  });

  it('though another cause is found first: one that overlaps is suspended all the same', async () => {
    await policies.apply('smartem', { jobs, timeZone: 'Europe/Atlantis' });
    await policies.settled('smartem', 'Stalled', 'True');
    await policies.apply('a-other', { jobs, database: { secretRef: { name: 'other' } } });
    await policies.settled('a-other', 'Ready', 'True');
    await policies.apply('smartem', { jobs, timeZone: 'Europe/Atlantis', database: { secretRef: { name: 'other' } } });
    await policies.settled('smartem', 'Stalled', 'True');
    await allSuspended(['smartem-one', 'smartem-two'], 'smartem-');
  });
});

it('a policy of the same name as a former one waits until the garbage collector is done', async () => {
  await policies.apply('smartem', { jobs });
  await policies.settled('smartem', 'Ready', 'True');
  await policies.delete('smartem');
  await policies.apply('smartem', { jobs });
  const seen = new Set<string | undefined>();
  const ready = async () => {
    const { conditions = [] } = parseStatus(await policies.get('smartem'));
    for (const { type, reason } of conditions) if (type !== 'LastRunSucceeded') seen.add(`${type} ${reason}`);
    return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
  };
  // The garbage collector looks for new kinds, such as ours, every 30 s.
  await eventually('it to be Ready', ready, { seconds: 75 });
  const waiting = ['Ready FormerPolicyRemains', 'Reconciling ProgressingWithRetry'];
  expect([...waiting, 'Ready Scheduled']).toEqual(expect.arrayContaining([...seen]));
});
