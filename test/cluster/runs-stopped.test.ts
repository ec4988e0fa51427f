import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isFinished, type Job } from '../../src/controller/objects.ts';
import { stoppedBecause } from '../../src/controller/stopped.ts';
import { addConnection, countOf } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf } from '../support/policies.ts';
import { entryOf } from '../support/policy-runs.ts';
import { type RunDatabase, type RunServer, startRunServer } from '../support/postgres/run-database.ts';
import { Runs } from '../support/runs.ts';

const cluster = useCluster();
let server: RunServer;
let runs: Runs;

beforeAll(async () => {
  [server, runs] = await Promise.all([startRunServer(), Runs.start(cluster)]);
});

afterAll(async () => {
  await runs?.stop();
  await server?.stop();
});

const spec = {
  jobs: [{ name: 'cleanup', operations: ['connections'] }],
  retention: { batchSize: 1 },
  limits: { pauseBetweenBatches: '1h' },
};

const closed = ({ pool }: RunDatabase) => countOf(pool, 'agentconnection', `status = 'timeout'`);

/** A policy with a database of its own, in which three rows are due. */
async function policyWithDatabase(name: string): Promise<RunDatabase> {
  const database = await server.createDatabase();
  await runs.applySecret(`${name}-db`, database.login);
  await runs.applyPolicy(name, spec);
  for (let i = 0; i < 3; i++) await addConnection(database.pool);
  return database;
}

/** A run of such a policy, met between its first batch and its second, for which it would wait an hour. */
async function midRun(name: string) {
  const database = await policyWithDatabase(name);
  const id = (await runs.request(name)).metadata!.name!;
  const pod = await runs.runningPod(id);
  await eventually('the first batch', async () => (await closed(database)) === 1);
  return { database, id, pod };
}

const patch = (name: string, change: object) =>
  runs.kubectl(['patch', 'retentionpolicy', name, '--type=merge', '-p', JSON.stringify(change)]);
const jobNamed = async (name: string, id: string) =>
  (await runs.jobs(name)).find(({ metadata }) => metadata!.name === id) as unknown as Job;
const ended = (name: string, id: string) =>
  eventually('the Job to have ended', async () => isFinished(await jobNamed(name, id)));

/** The run ended as Partial after its first batch, for this reason, and no other took its place. */
async function expectStopped(name: string, id: string, database: RunDatabase, why: RegExp): Promise<void> {
  const { run, status } = await runs.result(name, id);
  expect(run).toMatchObject({ result: 'Partial', rows: 1, operations: [{ name: 'connections', closed: 1 }] });
  expect(run.message).toMatch(why);
  expect(entryOf(status)!.lastFailure).toMatchObject({ id, result: 'Partial', message: run.message });
  expect(conditionOf(status, 'LastRunSucceeded')!.message).toMatch(why);
  await runs.event(name, 'RunPartial', why);
  await ended(name, id);
  expect(await closed(database)).toBe(1);
  // Its Pod has gone; nothing made another.
  expect((await runs.pods(id)).filter(({ metadata }) => !metadata!.deletionTimestamp)).toEqual([]);
}

describe.concurrent('a run under way is stopped, and says why, when its policy', () => {
  test.each([
    ['is suspended', 'suspended', { spec: { suspend: true } }, /stopped: the policy is suspended/],
    ['becomes Stalled', 'stalled', { spec: { timeZone: 'Europe/Atlantis' } }, /stopped: the policy is Stalled/],
    [
      'keeps rows longer',
      'longer',
      { spec: { retention: { connectionCleanupHours: 72 } } },
      /stopped: the policy changed \(retention\)/,
    ],
    ['becomes a dry run', 'dry', { spec: { dryRun: true } }, /stopped: the policy changed \(dryRun\)/],
    ['gets another guard', 'guard', { spec: { guard: { maxRowsPerRun: 1 } } }, /stopped: the policy changed \(guard\)/],
    [
      'names another schema',
      'schema',
      { spec: { database: { schema: 'other' } } },
      /stopped: the policy changed \(database\)/,
    ],
    [
      'gives the job other operations',
      'operations',
      { spec: { jobs: [{ name: 'cleanup', operations: ['sessions'] }] } },
      /stopped: the policy changed \(operations\)/,
    ],
  ])('%s', async (_, name, change, why) => {
    const { database, id } = await midRun(name);
    await patch(name, change);
    await expectStopped(name, id, database, why);
  });

  test('is deleted, and somebody’s finalizer keeps it: it starts nothing any more', async () => {
    const name = 'deleted';
    const { database, id } = await midRun(name);
    await patch(name, { metadata: { finalizers: ['example.com/backup'] } });
    await runs.kubectl(['delete', 'retentionpolicy', name, '--wait=false']);
    await expectStopped(name, id, database, /stopped: the policy is being deleted/);
    const status = await runs.policies.statusOf(
      name,
      'Ready to be False',
      (found) => conditionOf(found, 'Ready')?.status === 'False',
    );
    expect(conditionOf(status, 'Ready')).toMatchObject({ reason: 'Deleting' });
    expect(conditionOf(status, 'Ready')!.message).toContain('example.com/backup');
    expect(status.nextRun).toBeUndefined();
    const { items } = await cluster.batch.listNamespacedCronJob({ namespace: runs.namespace });
    const own = items.filter(({ metadata }) => metadata!.name === `${name}-cleanup`);
    expect(own.map((cronJob) => cronJob.spec!.suspend)).toEqual([true]);
    await patch(name, { metadata: { finalizers: [] } });
  });
});

test.concurrent('a run that kubectl made from the CronJob is stopped too', async () => {
  const name = 'by-hand';
  const database = await policyWithDatabase(name);
  await runs.kubectl(['create', 'job', 'mine', `--from=cronjob/${name}-cleanup`]);
  await runs.runningPod('mine');
  await eventually('the first batch', async () => (await closed(database)) === 1);
  await patch(name, { spec: { suspend: true } });
  await expectStopped(name, 'mine', database, /stopped: the policy is suspended/);
});

test.concurrent('a run that a former policy left with --cascade=orphan ends when there is a new one', async () => {
  const name = 'orphaned';
  const { database, id } = await midRun(name);
  // The garbage collector looks for new kinds, such as ours, every 30 s.
  await runs.kubectl(['delete', 'retentionpolicy', name, '--cascade=orphan', '--timeout=75s']);
  expect((await jobNamed(name, id)).metadata.ownerReferences ?? []).toEqual([]);
  await runs.applyPolicy(name, { ...spec, retention: { batchSize: 1, connectionCleanupHours: 72 } });
  await eventually('the Job and its Pod to be gone', async () => (await runs.pods(id)).length === 0);
  expect(await jobNamed(name, id)).toBeUndefined();
  await runs.event(name, 'OrphanDeleted', new RegExp(`Job ${id}`));
  expect(await closed(database)).toBe(1);
});

test.concurrent('while a run is being stopped Ready says so; one that hangs is reported by the controller', async () => {
  const name = 'hanging';
  const { database, id, pod } = await midRun(name);
  process.kill(runs.node.pid(runs.namespace, pod), 'SIGSTOP');
  await patch(name, { spec: { suspend: true } });
  await eventually('the Pod to be deleted', async () => (await runs.pods(id))[0]?.metadata?.deletionTimestamp);
  const stopping = await runs.policies.settled(name, 'Ready', 'True');
  expect(conditionOf(stopping, 'Ready')).toMatchObject({
    reason: 'Suspended',
    message: `No run starts until spec.suspend is false again. Still being stopped: Job ${id}`,
  });
  expect(entryOf(stopping)).toMatchObject({ active: 1 });
  // As the kubelet does when the grace period of 30 s is over.
  await runs.node.kill(runs.namespace, pod);
  const { run } = await runs.result(name, id);
  expect(run).toMatchObject({ result: 'Partial', rows: 0 });
  expect(run.message).toMatch(/^stopped: the policy is suspended; .*was killed before it could report/);
  const after = await runs.policies.statusOf(name, 'nothing to be stopped', (status) => entryOf(status)?.active === 0);
  expect(conditionOf(after, 'Ready')!.message).toBe('No run starts until spec.suspend is false again');
  expect(await closed(database)).toBe(1);
});

test.concurrent('a run goes on when what changes does not concern what it does', async () => {
  const name = 'unconcerned';
  const { id, pod } = await midRun(name);
  await runs.patchSpec(name, {
    schedule: '0 5 1 1 *',
    timeZone: 'Europe/London',
    history: { runs: 3 },
    runner: { resources: { limits: { memory: '1Gi' } } },
    statistics: { schedule: '0 0 1 1 *' },
  });
  const job = await jobNamed(name, id);
  expect([isFinished(job), stoppedBecause(job)]).toEqual([false, undefined]);
  expect(await runs.runningPod(id)).toBe(pod);
  await patch(name, { spec: { suspend: true } });
  const { run } = await runs.result(name, id);
  expect(run.message).toContain('stopped: the policy is suspended');
});

// Alone: it starts another controller.
test('a controller of another version, with another image, stops no run', async () => {
  const name = 'upgraded';
  const { id, pod } = await midRun(name);
  const image = 'registry.invalid/retention-operator:next';
  await runs.startController({ image });
  await eventually('the CronJob to have the new image', async () => {
    const { items } = await cluster.batch.listNamespacedCronJob({ namespace: runs.namespace });
    const own = items.find(({ metadata }) => metadata!.name === `${name}-cleanup`);
    return own!.spec!.jobTemplate.spec!.template.spec!.containers[0]!.image === image;
  });
  // A change of the status is the proof that the controller has looked at the Job since.
  await runs.patchSpec(name, { history: { runs: 4 } });
  const job = await jobNamed(name, id);
  expect([isFinished(job), stoppedBecause(job)]).toEqual([false, undefined]);
  expect(await runs.runningPod(id)).toBe(pod);
  await patch(name, { spec: { suspend: true } });
  const { run } = await runs.result(name, id);
  expect(run.message).toContain('stopped: the policy is suspended');
});
