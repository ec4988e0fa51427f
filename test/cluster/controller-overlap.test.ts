import { beforeEach, describe, expect, it, vi } from 'vitest';
import { runFieldManager } from '../../src/api/policy.ts';
import { resources } from '../../src/controller/objects.ts';
import { adminClient, installOperator } from '../support/controller.ts';
import { runOf } from '../support/controller-objects.ts';
import { eventually, soon } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf, Policies } from '../support/policies.ts';
import { useController } from '../support/use-controller.ts';

const cluster = useCluster();
const client = adminClient(cluster);
// No resync helps here: what one policy does to another has to be seen at once.
const policies = useController(cluster);

const jobs = (...operations: string[]) => ({ jobs: [{ name: 'a', operations }] });
const cronJobs = async () =>
  (await client.list(resources.cronJobs, { namespace: policies.namespace })).items.map(({ metadata, spec }) => [
    metadata.name,
    spec!.suspend,
  ]);

describe('of two policies that apply an operation to the same tables', () => {
  // Times of creation have whole seconds: the names decide here.
  beforeEach(async () => {
    await policies.apply('a-older', jobs('connections', 'sessions'));
    await policies.settled('a-older', 'Ready', 'True');
    await policies.apply('b-newer', jobs('sessions'));
    await policies.settled('b-newer', 'Stalled', 'True');
  });

  it('the newer is Stalled, names the other, and gets no CronJob', async () => {
    const stalled = conditionOf(await policies.settled('b-newer', 'Stalled', 'True'), 'Stalled');
    expect(stalled).toMatchObject({ reason: 'Overlap' });
    expect(stalled!.message).toContain('RetentionPolicy a-older');
    expect(stalled!.message).toContain('sessions');
    expect(await cronJobs()).toEqual([['a-older-a', false]]);
    expect(conditionOf(await policies.settled('a-older', 'Ready', 'True'), 'Stalled')).toBeUndefined();
  });

  it('the newer runs as soon as the older is deleted', async () => {
    await policies.delete('a-older');
    await policies.settled('b-newer', 'Ready', 'True');
  });

  it('the newer runs as soon as the older leaves the operation to it, or takes another Secret', async () => {
    await policies.apply('a-older', jobs('connections'));
    await policies.settled('b-newer', 'Ready', 'True');
    await policies.apply('a-older', jobs('connections', 'sessions'));
    await policies.settled('b-newer', 'Stalled', 'True');
    await policies.apply('a-older', { ...jobs('sessions'), database: { secretRef: { name: 'other' } } });
    await policies.settled('b-newer', 'Ready', 'True');
  });
});

it('the CronJobs of a policy that comes to overlap are suspended, and go on when it no longer does', async () => {
  await policies.apply('a-older', jobs('connections'));
  await policies.apply('b-newer', jobs('sessions'));
  for (const name of ['a-older', 'b-newer']) await policies.settled(name, 'Ready', 'True');
  await policies.apply('a-older', jobs('connections', 'sessions'));
  const held = await policies.settled('b-newer', 'Stalled', 'True');
  expect(await cronJobs()).toEqual([
    ['a-older-a', false],
    ['b-newer-a', true],
  ]);
  expect(held.nextRun).toBeUndefined();
  await policies.delete('a-older');
  const freed = await policies.settled('b-newer', 'Ready', 'True');
  expect(freed.nextRun).toBeDefined();
  expect(await cronJobs()).toContainEqual(['b-newer-a', false]);
});

it('an older policy that may not run for what its Pods ask for holds back no other', async () => {
  await policies.apply('a-older', jobs('sessions'));
  await policies.settled('a-older', 'Ready', 'True');
  await policies.apply('b-newer', jobs('sessions'));
  await policies.settled('b-newer', 'Stalled', 'True');
  await policies.apply('a-older', { ...jobs('sessions'), runner: { priorityClassName: 'system-node-critical' } });
  await policies.settled('a-older', 'Stalled', 'True');
  await policies.settled('b-newer', 'Ready', 'True');
  await policies.apply('a-older', jobs('sessions'));
  await policies.settled('b-newer', 'Stalled', 'True');
});

describe('an older policy that is Stalled for a reason of its own holds back no other until it is repaired', () => {
  const older = (spec: object) => policies.apply('a-older', { ...jobs('sessions'), ...spec });
  const heldBack = async () => {
    await older({});
    await policies.settled('a-older', 'Ready', 'True');
    await policies.settled('b-newer', 'Stalled', 'True');
    expect(await cronJobs()).toEqual([
      ['a-older-a', false],
      ['b-newer-a', true],
    ]);
  };

  it.each<[string, object]>([
    ['InvalidSchedule', { timeZone: 'Europe/Atlantis' }],
    ['InvalidRunner', { runner: { resources: { limits: { cpu: '1' }, requests: { cpu: '2' } } } }],
    ['RunnerNotAllowed', { runner: { priorityClassName: 'system-node-critical' } }],
  ])('by its %s, whether it comes first or becomes so', async (reason, broken) => {
    await older(broken);
    const stalled = conditionOf(await policies.settled('a-older', 'Stalled', 'True'), 'Stalled')!;
    expect(stalled.reason).toBe(reason);
    await policies.apply('b-newer', jobs('sessions'));
    await policies.settled('b-newer', 'Ready', 'True');
    await heldBack();
    await older(broken);
    await policies.settled('a-older', 'Stalled', 'True');
    await policies.settled('b-newer', 'Ready', 'True');
    expect(await cronJobs()).toContainEqual(['b-newer-a', false]);
  });

  it('by a name that another object has', async () => {
    const name = 'retention-a-older';
    const account = { namespace: policies.namespace, name };
    await client.apply(resources.serviceAccounts, { metadata: account }, { fieldManager: 'somebody' });
    await older({});
    await policies.settled('a-older', 'Stalled', 'True');
    await policies.apply('b-newer', jobs('sessions'));
    await policies.settled('b-newer', 'Ready', 'True');
    await client.delete(resources.serviceAccounts as never, account);
    await policies.apply('a-older', { ...jobs('sessions'), timeZone: 'Etc/UTC' });
    await heldBack();
  });

  it('and of those after it the oldest runs alone', async () => {
    await older({ timeZone: 'Europe/Atlantis' });
    await policies.settled('a-older', 'Stalled', 'True');
    for (const name of ['b-newer', 'c-newest']) await policies.apply(name, jobs('sessions'));
    const blamed = (name: string, words: string) =>
      policies.statusOf(name, `Overlap with ${words}`, (status) => {
        const stalled = conditionOf(status, 'Stalled');
        return stalled?.reason === 'Overlap' && stalled.message.includes(words);
      });
    await policies.settled('b-newer', 'Ready', 'True');
    await blamed('c-newest', 'RetentionPolicy b-newer');
    await older({});
    await policies.settled('a-older', 'Ready', 'True');
    for (const name of ['b-newer', 'c-newest']) await blamed(name, 'RetentionPolicy a-older');
    await policies.delete('a-older');
    await policies.settled('b-newer', 'Ready', 'True');
    await blamed('c-newest', 'RetentionPolicy b-newer');
  });
});

it('an older policy whose spec is not valid holds back no other', async () => {
  const name = 'retentionpolicies.retention.agentdata.io';
  await policies.apply('a-older', jobs('sessions'));
  await policies.settled('a-older', 'Ready', 'True');
  await policies.apply('b-newer', jobs('sessions'));
  await policies.settled('b-newer', 'Stalled', 'True');
  const definition = JSON.parse((await cluster.kubectl(['get', 'crd', name, '-o', 'json'])).stdout);
  delete definition.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.retention.properties.batchSize
    .maximum;
  try {
    expect((await cluster.kubectl(['replace', '-f', '-'], { input: JSON.stringify(definition) })).code).toBe(0);
    const invalid = { ...jobs('sessions'), retention: { batchSize: 50_000 } };
    await eventually('the bad policy to be taken', () => policies.apply('a-older', invalid).catch(() => undefined));
    await policies.settled('a-older', 'Stalled', 'True');
    await policies.settled('b-newer', 'Ready', 'True');
    expect(await cronJobs()).toEqual([
      ['a-older-a', true],
      ['b-newer-a', false],
    ]);
  } finally {
    await installOperator(cluster);
  }
});

describe('of two policies whose runs found the same database behind two Secrets', () => {
  const spec = (secret: string, ...operations: string[]) => ({
    ...jobs(...operations),
    database: { secretRef: { name: secret } },
  });
  let runs = 0;
  /** Of one test only: policies of other namespaces count. */
  const ours = () => `of-${policies.namespace}`;
  /** A run, played by the test, ends as Failed: what it found of the database counts all the same. */
  const found = (name: string, fingerprint: string | undefined, secret: string, of: Policies = policies) => {
    runs += 1;
    const database = fingerprint && { secret, schema: 'public', fingerprint };
    const completionTime = new Date(Date.now() + runs * 1000).toISOString();
    const fields = { id: `${name}-${runs}`, completionTime, result: 'Failed', message: 'x', database } as const;
    return client.apply(
      resources.policies,
      {
        metadata: { namespace: of.namespace, name },
        status: { jobs: [{ name: 'a', lastRun: runOf('a', fields as never) }] },
      },
      { fieldManager: runFieldManager('a'), force: true, subresource: 'status' },
    );
  };
  beforeEach(async () => {
    await policies.apply('a-older', spec('one', 'connections', 'sessions'));
    await policies.apply('b-newer', spec('two', 'sessions'));
    for (const name of ['a-older', 'b-newer']) await policies.settled(name, 'Ready', 'True');
    await found('b-newer', ours(), 'two');
    await found('a-older', ours(), 'one');
    // A run that another one replaces before the controller has seen it is in no history.
    await policies.statusOf('a-older', 'its run', ({ runs }) => runs?.length === 1);
    await policies.settled('b-newer', 'Stalled', 'True');
  });

  it('the newer is Stalled, names the other and its Secret, and its CronJob is suspended', async () => {
    const stalled = conditionOf(await policies.settled('b-newer', 'Stalled', 'True'), 'Stalled')!;
    expect(stalled.reason).toBe('Overlap');
    expect(stalled.message).toMatch(/RetentionPolicy a-older, .* applies sessions to the same database .* Secret one/);
    expect(await cronJobs()).toEqual([
      ['a-older-a', false],
      ['b-newer-a', true],
    ]);
    const database = { secret: 'one', schema: 'public', fingerprint: ours() };
    await vi.waitFor(async () => expect((await policies.status('a-older')).database).toEqual(database), soon);
    expect(conditionOf(await policies.status('a-older'), 'Ready')).toMatchObject({ status: 'True' });
  });

  it('it stays so while runs of the older cannot connect', async () => {
    await found('a-older', undefined, 'one');
    await policies.statusOf('a-older', 'the failed run', ({ runs }) => runs?.length === 2);
    await policies.settled('b-newer', 'Stalled', 'True');
    expect(await cronJobs()).toContainEqual(['b-newer-a', true]);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['the older is deleted', () => policies.delete('a-older')],
    ['the older’s Secret leads to another database', () => found('a-older', 'f2', 'one')],
    ['the older takes another Secret', () => policies.apply('a-older', spec('three', 'connections', 'sessions'))],
    ['the older leaves the operation to it', () => policies.apply('a-older', spec('one', 'connections'))],
    ['it takes another Secret', () => policies.apply('b-newer', spec('three', 'sessions'))],
  ])('it runs as soon as %s', async (_, change) => {
    await change();
    await policies.settled('b-newer', 'Ready', 'True');
    expect(await cronJobs()).toContainEqual(['b-newer-a', false]);
  });

  it('a policy of another namespace is held back too, and does not learn its name', async () => {
    const elsewhere = new Policies(client, await cluster.createNamespace());
    // Of the same second the namespace would decide, whose name is random.
    const { creationTimestamp } = (await policies.get('b-newer')).metadata;
    await eventually('another second', async () => Date.now() > Date.parse(creationTimestamp!) + 1000);
    await elsewhere.apply('c-newest', spec('one', 'connections'));
    await elsewhere.settled('c-newest', 'Ready', 'True');
    await found('c-newest', ours(), 'one', elsewhere);
    const stalled = conditionOf(await elsewhere.settled('c-newest', 'Stalled', 'True'), 'Stalled')!;
    expect(stalled.reason).toBe('Overlap');
    expect(stalled.message).toContain('a RetentionPolicy of another namespace, which is older, applies connections');
    for (const name of ['a-older', policies.namespace]) expect(stalled.message).not.toContain(name);
    await policies.delete('a-older');
    await elsewhere.settled('c-newest', 'Ready', 'True');
  });
});

it('policies with different schemas, or with nothing in common but statistics, do not overlap', async () => {
  const statistics = { schedule: '0 * * * *' };
  await policies.apply('a', { ...jobs('sessions'), statistics });
  await policies.apply('b', { ...jobs('connections'), statistics });
  await policies.apply('c', { ...jobs('sessions'), database: { secretRef: { name: 'db' }, schema: 'other' } });
  for (const name of ['a', 'b', 'c']) await policies.settled(name, 'Ready', 'True');
});
