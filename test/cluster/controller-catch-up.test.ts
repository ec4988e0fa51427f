import { expect, it } from 'vitest';
import { type CronJob, resources } from '../../src/controller/objects.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { useController } from '../support/use-controller.ts';

const cluster = useCluster();
const policies = useController(cluster);

const by = { fieldManager: 'user', force: true };

it('a time that passed while a policy was suspended, Stalled or had another schedule starts nothing afterwards', async () => {
  const { client, namespace } = policies;
  // Far enough for what is applied before it.
  const time = new Date(Math.ceil((Date.now() + 45_000) / 60_000) * 60_000);
  const schedule = `${time.getUTCMinutes()} ${time.getUTCHours()} * * *`;
  const ofSecret = (name: string, spec: object) => ({ database: { secretRef: { name } }, ...spec });
  const jobTemplate = {
    spec: {
      template: { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'registry.invalid/none' }] } },
    },
  };
  const control = (suspend: boolean): CronJob =>
    ({
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: { namespace, name: 'control' },
      spec: { schedule, timeZone: 'Etc/UTC', startingDeadlineSeconds: 600, suspend, jobTemplate },
    }) as CronJob;

  await client.apply(resources.cronJobs, control(true) as never, by);
  await policies.apply('suspended', ofSecret('a', { schedule, suspend: true }));
  await policies.settled('suspended', 'Ready', 'True');
  await policies.apply('stalled', ofSecret('b', { schedule }));
  await policies.settled('stalled', 'Ready', 'True');
  await policies.apply('stalled', ofSecret('b', { schedule, timeZone: 'Europe/Atlantis' }));
  await policies.settled('stalled', 'Stalled', 'True');
  await policies.apply('rescheduled', ofSecret('c', {}));
  await policies.settled('rescheduled', 'Ready', 'True');

  const passed = time.getTime() + 12_000;
  await eventually('the time to have passed', async () => Date.now() > passed, { seconds: 150 });
  for (const [name, secret] of [
    ['suspended', 'a'],
    ['stalled', 'b'],
    ['rescheduled', 'c'],
  ] as const) {
    await policies.apply(name, ofSecret(secret, { schedule }));
    await policies.settled(name, 'Ready', 'True');
  }
  // What Kubernetes does by itself: it starts the missed time of the one that nobody looks after.
  await client.apply(resources.cronJobs, control(false) as never, by);
  const owners = async () =>
    (await client.list(resources.jobs, { namespace })).items.map(({ metadata }) => metadata.ownerReferences?.[0]?.name);
  await eventually('the Job of the control', async () => (await owners()).includes('control'), { seconds: 30 });
  expect(await owners()).toEqual(['control']);
}, 300_000);
