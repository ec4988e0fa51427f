import { afterAll, beforeAll, expect, test } from 'vitest';
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

/** A run of a policy with a database of its own, met between its first batch and its second, for which it would wait an hour. */
async function midRun(name: string): Promise<{ database: RunDatabase; id: string; pod: string }> {
  const database = await server.createDatabase();
  await runs.applySecret(`${name}-db`, database.login);
  await runs.applyPolicy(name, {
    jobs: [{ name: 'cleanup', operations: ['connections'] }],
    retention: { batchSize: 1 },
    limits: { pauseBetweenBatches: '1h' },
  });
  for (let i = 0; i < 3; i++) await addConnection(database.pool);
  const id = (await runs.request(name)).metadata!.name!;
  const pod = await runs.runningPod(id);
  await eventually('the first batch', async () => (await closed(database)) === 1);
  return { database, id, pod };
}

const closed = ({ pool }: RunDatabase) => countOf(pool, 'agentconnection', `status = 'timeout'`);

/** The failed run is shown with these words; a run without pauses does the rest and clears it. */
async function expectFailureAndRecovery(
  name: string,
  { id, database, result, words }: { id: string; database: RunDatabase; result: 'Failed' | 'Partial'; words: RegExp },
): Promise<void> {
  const { run, status } = await runs.result(name, id);
  expect(run).toMatchObject({ result, trigger: 'Manual' });
  expect(run.message).toMatch(words);
  const failed = conditionOf(status, 'LastRunSucceeded')!;
  expect(failed).toMatchObject({ status: 'False', reason: `Run${result}` });
  expect(failed.message).toMatch(words);
  expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'True' });
  await runs.event(name, `Run${result}`, words);
  expect(await runs.columns(name)).toMatchObject({ READY: 'True', RESULT: result });
  expect(await closed(database)).toBe(1);

  await runs.patchSpec(name, { limits: { pauseBetweenBatches: '0s' } });
  const { run: next, status: after } = await runs.runNow(name);
  expect(next).toMatchObject({ result: 'Succeeded', rows: 2 });
  expect(await closed(database)).toBe(3);
  expect(conditionOf(after, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
  expect(entryOf(after)!.lastFailure).toBeUndefined();
}

test.concurrent('a runner that is killed: what it had committed stays, the next run goes on', async () => {
  const { database, id, pod } = await midRun('killed');
  await runs.node.kill(runs.namespace, pod);
  const words = /^.*The runner was killed \(SIGKILL\) before it could report: what it had committed stays/;
  await expectFailureAndRecovery('killed', { id, database, result: 'Failed', words });
});

test.concurrent('a runner out of memory: the limit is named, and what to raise', async () => {
  const { database, id, pod } = await midRun('memory');
  await runs.node.kill(runs.namespace, pod, { oom: true });
  const words =
    /used up its limit of 256Mi: raise spec\.runner\.resources\.limits\.memory, or lower spec\.retention\.batchSize/;
  await expectFailureAndRecovery('memory', { id, database, result: 'Failed', words });
});

test.concurrent('a Pod deleted during its run reports Partial itself', async () => {
  const { database, id, pod } = await midRun('deleted');
  await runs.kubectl(['delete', 'pod', pod, '--wait=false']);
  const words = /stopped: SIGTERM received/;
  await expectFailureAndRecovery('deleted', { id, database, result: 'Partial', words });
});

test.concurrent('a run past its deadline reports Partial itself', async () => {
  const { database, id } = await midRun('late');
  await runs.kubectl(['patch', 'job', id, '--type=merge', '-p', '{"spec":{"activeDeadlineSeconds":1}}']);
  await expectFailureAndRecovery('late', {
    id,
    database,
    result: 'Partial',
    words: /stopped: SIGTERM received/,
  });
});

test.concurrent('a run that hangs past its deadline is killed, and the controller says so', async () => {
  const { database, id, pod } = await midRun('hanging');
  process.kill(runs.node.pid(runs.namespace, pod), 'SIGSTOP');
  await runs.kubectl(['patch', 'job', id, '--type=merge', '-p', '{"spec":{"activeDeadlineSeconds":1}}']);
  await eventually('the Pod to be deleted', async () => (await runs.pods(id))[0]?.metadata?.deletionTimestamp);
  // As the kubelet does when the grace period of 30 s is over.
  await runs.node.kill(runs.namespace, pod);
  const words =
    /The run was killed 1 s after its start, .* past spec\.limits\.maxDuration: .* see the Events of Job hanging-/;
  await expectFailureAndRecovery('hanging', { id, database, result: 'Failed', words });
});

test.concurrent('a drained run starts again on its own, and ends as Succeeded', async () => {
  const database = await server.createDatabase();
  await runs.applySecret('drained-db', database.login);
  await runs.applyPolicy('drained', {
    jobs: [{ name: 'cleanup', operations: ['connections'] }],
    retention: { batchSize: 1 },
    limits: { pauseBetweenBatches: '1500ms' },
  });
  for (let i = 0; i < 15; i++) await addConnection(database.pool);
  const id = (await runs.request('drained')).metadata!.name!;
  const pod = await runs.runningPod(id);
  await eventually('the first batch', async () => (await closed(database)) >= 1);
  await runs.node.drain(runs.namespace, pod);

  const { status: end } = await eventually(
    'the run to succeed',
    async () => {
      const found = await runs.result('drained', id);
      return found.run.result === 'Succeeded' && found;
    },
    // The second Pod pauses for 20 s alone.
    { seconds: 90 },
  );
  expect(await closed(database)).toBe(15);
  const run = entryOf(end)!.lastRun!;
  expect(run.rows, 'the second Pod did what the first had left').toBeLessThan(15);
  const pods = await runs.pods(id);
  expect(
    pods.map((each) => each.metadata!.name),
    'a second Pod of the same Job',
  ).not.toEqual([pod]);
  expect((await runs.jobs('drained'))[0]!.status!.failed ?? 0, 'no failure of the Job').toBe(0);
  expect(await runs.node.logs(runs.namespace, pod)).toContain('SIGTERM received');
  expect(conditionOf(end, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
  expect(entryOf(end)!.lastFailure).toBeUndefined();
}, 240_000);
