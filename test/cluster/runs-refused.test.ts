import { afterAll, beforeAll, expect, test } from 'vitest';
import { addConnection } from '../support/data/due-rows.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf } from '../support/policies.ts';
import { type RunServer, startRunServer } from '../support/postgres/run-database.ts';
import { Runs } from '../support/runs.ts';

const cluster = useCluster();
let server: RunServer;
let runs: Runs;
/** Another namespace, whose controller has a flag --image that names nothing. */
let mistyped: Runs;
const mistypedImage = 'registry.invalid/retention-operator:tset';

beforeAll(async () => {
  [server, runs] = await Promise.all([startRunServer(), Runs.start(cluster)]);
  mistyped = await Runs.start(cluster, { image: mistypedImage, node: runs.node });
});

afterAll(async () => {
  await mistyped?.stop();
  await runs?.stop();
  await server?.stop();
});

/** A policy with a database that has one row due, and its run asked for; the name of its Job. */
async function requestRun(runs: Runs, name: string, spec: Record<string, unknown> = {}): Promise<string> {
  const database = await server.createDatabase();
  await addConnection(database.pool);
  await runs.applySecret(`${name}-db`, database.login);
  await runs.applyPolicy(name, { jobs: [{ name: 'cleanup', operations: ['connections'] }], ...spec });
  return (await runs.request(name)).metadata!.name!;
}

/** While the Job waits, LastRunSucceeded and an Event say why. */
async function expectNotStarted(runs: Runs, name: string, words: RegExp): Promise<void> {
  const status = await runs.policies.statusOf(name, 'LastRunSucceeded to say why no runner started', (found) =>
    words.test(conditionOf(found, 'LastRunSucceeded')?.message ?? ''),
  );
  const waiting = conditionOf(status, 'LastRunSucceeded')!;
  expect(waiting).toMatchObject({ status: 'False', reason: 'RunnerNotStarted' });
  expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'True' });
  await runs.event(name, 'RunnerNotStarted', words);
  expect(await runs.columns(name)).toMatchObject({ READY: 'True', RESULT: '' });
}

/** The next run succeeds, and nothing is said any more. */
async function expectSuccess(runs: Runs, name: string, id?: string): Promise<void> {
  const { run, status } = await (id ? runs.result(name, id) : runs.runNow(name));
  expect(run).toMatchObject({ result: 'Succeeded', rows: 1 });
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'True', reason: 'RunsSucceeded' });
  expect(await runs.columns(name)).toMatchObject({ RESULT: 'Succeeded' });
}

test.concurrent('a Pod that Pod Security refuses: said, and cleared with the policy put right', async () => {
  const id = await requestRun(runs, 'lax', { runner: { securityContext: { runAsNonRoot: false } } });
  const words =
    /^cleanup: The Pod was refused by the namespace's Pod Security Standard: check spec\.runner\.securityContext against it \(.*runAsNonRoot/;
  await expectNotStarted(runs, 'lax', words);
  expect(await runs.pods(id)).toEqual([]);

  await runs.patchSpec('lax', { runner: null });
  // The Job that could never start goes with the spec that it was made from.
  await runs.kubectl(['wait', '--for=delete', `job/${id}`, '--timeout=60s']);
  await expectSuccess(runs, 'lax');
});

test.concurrent('a Pod that a ResourceQuota refuses: said, and the same run starts once the quota is raised', async ({
  expect,
}) => {
  await applyQuota('2Gi');
  const id = await requestRun(runs, 'greedy', { runner: { resources: { requests: { memory: '4Gi' } } } });
  const words =
    /^cleanup: The Pod was refused by a ResourceQuota: raise the quota, or set spec\.runner\.resources to fit it \(exceeded quota: memory.*requested: requests\.memory=4Gi/;
  await expectNotStarted(runs, 'greedy', words);
  expect(await runs.pods(id)).toEqual([]);

  await applyQuota('8Gi');
  await expectSuccess(runs, 'greedy', id);
});

/** The control plane runs no quota controller: the status, which admission goes by, is written here. */
async function applyQuota(memory: string): Promise<void> {
  const hard = { 'requests.memory': memory };
  const quota = { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'memory' }, spec: { hard } };
  await runs.kubectl(['apply', '-f', '-'], JSON.stringify(quota));
  const status = JSON.stringify({ status: { hard, used: { 'requests.memory': '0' } } });
  await runs.kubectl(['patch', 'resourcequota', 'memory', '--subresource=status', '--type=merge', '-p', status]);
}

test.concurrent('an image that cannot be pulled: said, also past the deadline, and cleared with the right image', async ({
  expect,
}) => {
  const id = await requestRun(mistyped, 'image');
  const image = mistypedImage.replaceAll('.', '\\.');
  const words = new RegExp(`^cleanup: The image ${image} cannot be pulled: check the controller's flag --image`);
  await expectNotStarted(mistyped, 'image', words);

  await mistyped.kubectl(['patch', 'job', id, '--type=merge', '-p', '{"spec":{"activeDeadlineSeconds":1}}']);
  const { run, status } = await mistyped.result('image', id);
  expect(run).toMatchObject({ result: 'Failed', rows: 0, trigger: 'Manual' });
  const late =
    /The run was killed 1 s after its start, .*: its Pod hung or never started; see the Events of Job image-/;
  expect(run.message).toMatch(late);
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'False', reason: 'RunFailed' });
  await mistyped.event('image', 'RunFailed', late);

  await mistyped.startController();
  await mistyped.policies.statusOf('image', 'no active run', ({ jobs }) => jobs?.[0]?.active === 0);
  await expectSuccess(mistyped, 'image');
});
