import { beforeAll, expect, test } from 'vitest';
import { addConnection, countOf } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';
import { conditionOf } from '../support/policies.ts';
import { entryOf } from '../support/policy-runs.ts';
import { createLab, install, type Lab } from './installation.ts';

const cluster = useCluster();
let lab: Lab;

beforeAll(async () => {
  await install(cluster);
  lab = await createLab(cluster);
});

const kubectl = (...args: string[]) => strictly(cluster.kubectl)(args);

test('a node drained in the middle of a run: another Pod finishes it once there is a node again', async () => {
  const { runs, server } = lab;
  const database = await server.createDatabase();
  for (let i = 0; i < 15; i++) await addConnection(database.pool);
  await runs.applySecret('drained-db', database.login);
  await runs.applyPolicy('drained', {
    jobs: [{ name: 'cleanup', operations: ['connections'] }],
    retention: { batchSize: 1 },
    limits: { pauseBetweenBatches: '2s' },
  });
  const id = (await runs.request('drained')).metadata!.name!;
  const pod = await runs.runningPod(id);
  const closed = () => countOf(database.pool, 'agentconnection', `status = 'timeout'`);
  await eventually('the first batch', async () => (await closed()) >= 1);
  const node = await kubectl('get', 'pod', pod, '-n', runs.namespace, '-o', 'jsonpath={.spec.nodeName}');

  try {
    const selected = `--pod-selector=batch.kubernetes.io/job-name=${id}`;
    await kubectl('drain', node, '--ignore-daemonsets', '--delete-emptydir-data', '--timeout=60s', selected);
    await eventually(
      'another Pod that waits',
      async () =>
        (await runs.pods(id)).some(({ metadata, status }) => metadata!.name !== pod && status!.phase === 'Pending'),
      { seconds: 60 },
    );
    expect(await closed()).toBeLessThan(15);
  } finally {
    await kubectl('uncordon', node);
  }

  const { status } = await eventually(
    'the run to succeed',
    async () => {
      const found = await runs.result('drained', id);
      return found.run.result === 'Succeeded' && found;
    },
    { seconds: 120 },
  );
  expect(await closed()).toBe(15);
  expect(entryOf(status)!.lastRun!.rows, 'the second Pod did what the first had left').toBeLessThan(15);
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
});
