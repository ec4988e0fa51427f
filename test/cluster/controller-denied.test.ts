import { afterEach, describe, expect, it } from 'vitest';
import { suspendAnnotation } from '../../src/api/policy.ts';
import { resources } from '../../src/controller/objects.ts';
import { type Admission, deny } from '../support/admission.ts';
import { adminClient } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf } from '../support/policies.ts';
import { useController } from '../support/use-controller.ts';

const cluster = useCluster();
const client = adminClient(cluster);
const policies = useController(cluster);
let admission: Admission | undefined;
afterEach(() => admission?.end());

const cronJob = () => client.get(resources.cronJobs, { namespace: policies.namespace, name: 'smartem-cleanup' });
const endedWithin = async (seconds: number) => {
  await admission!.end();
  admission = undefined;
  await eventually(
    'Ready',
    async () => conditionOf(await policies.settled('smartem', 'Ready', 'True'), 'Ready')?.reason === 'Scheduled',
    { seconds },
  );
};
describe('a CronJob that is denied is not blamed on the spec', () => {
  it.each<[string, string, RegExp, () => Promise<Admission>, Record<string, unknown>]>([
    [
      'by an admission policy',
      'AdmissionDenied',
      /denied request: not on Sundays/,
      () => deny(cluster, policies.namespace, { message: 'not on Sundays' }),
      {},
    ],
    [
      'by an admission policy, with a runner that is fine',
      'AdmissionDenied',
      /denied request: not on Mondays/,
      () => deny(cluster, policies.namespace, { message: 'not on Mondays' }),
      { runner: { nodeSelector: { disk: 'fast' } } },
    ],
    [
      'by its labels',
      'AdmissionDenied',
      /denied request: labels are missing/,
      () =>
        deny(cluster, policies.namespace, {
          message: 'labels are missing',
          unless: 'has(object.metadata.labels.team)',
        }),
      {},
    ],
  ])('%s; and is there soon after the denial has gone', async (_, reason, words, begin, spec) => {
    admission = await begin();
    await policies.apply('smartem', spec);
    const denied = await policies.settled('smartem', 'Ready', 'False');
    expect(conditionOf(denied, 'Ready')).toMatchObject({ reason, message: expect.stringMatching(words) });
    expect(conditionOf(denied, 'Ready')!.message).not.toContain('spec.runner');
    expect(conditionOf(denied, 'Stalled')).toBeUndefined();
    await endedWithin(60);
  });
});

describe('where a change is denied', () => {
  const healthy = async () => {
    await policies.apply('smartem', { preset: 'Development' });
    await policies.settled('smartem', 'Ready', 'True');
  };
  const ready = async () => conditionOf(await policies.settled('smartem', 'Ready', 'False'), 'Ready')!.message;

  it('runs by superseded values are suspended until it is taken', async () => {
    await healthy();
    admission = await deny(cluster, policies.namespace, {
      message: 'no changes',
      unless: 'object.spec.suspend == true',
    });
    await policies.apply('smartem', { preset: 'ScientificCompliance' });
    expect(await ready()).toMatch(/^No run starts until this is over: .*no changes/);
    expect((await cronJob()).spec!.suspend).toBe(true);
    await endedWithin(60);
    expect((await cronJob()).spec!.suspend).toBe(false);
  });

  it('and so is their suspension, that is told', async () => {
    await healthy();
    admission = await deny(cluster, policies.namespace, { message: 'nothing at all' });
    await policies.apply('smartem', { preset: 'ScientificCompliance' });
    expect(await ready()).toMatch(/^Runs still start, since its CronJobs could not be suspended .*nothing at all/);
  });

  it('and so is that of a policy that is suspended, which is told as well', async () => {
    await healthy();
    admission = await deny(cluster, policies.namespace, { message: 'frozen' });
    await policies.apply('smartem', { preset: 'Development' }, { [suspendAnnotation]: 'true' });
    expect(await ready()).toMatch(/^Runs still start, since its CronJobs could not be suspended .*frozen/);
    expect((await policies.status('smartem')).suspended).toBe(false);
  });

  it('runs go on where they do what the policy says', async () => {
    await healthy();
    admission = await deny(cluster, policies.namespace, { message: 'no changes' });
    await policies.apply('smartem', { preset: 'Development', schedule: '0 0 2 2 *' });
    expect(await ready()).toContain('no changes');
    expect((await cronJob()).spec).toMatchObject({ suspend: false, schedule: '0 0 1 1 *' });
  });
});
