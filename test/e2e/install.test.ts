import { beforeAll, expect, test } from 'vitest';
import { addConnection, countOf } from '../support/data/due-rows.ts';
import { namespace as operatorNamespace } from '../support/deploy/helm.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf } from '../support/policies.ts';
import { createLab, install, type Lab } from './installation.ts';

const cluster = useCluster();
let lab: Lab;

beforeAll(async () => {
  await install(cluster);
  lab = await createLab(cluster);
});

test('after helm install a CronJob fires on its own schedule, and its Pod changes rows and the status', async () => {
  const { runs, server } = lab;
  const database = await server.createDatabase();
  for (let i = 0; i < 3; i++) await addConnection(database.pool);
  await runs.applySecret('smartem-db', database.login);
  await runs.applySecret('smartem-db-ca', { 'ca.crt': server.ca });
  await runs.applyPolicy('smartem', {
    schedule: '* * * * *',
    jobs: [{ name: 'cleanup', operations: ['connections'] }],
    database: { tls: { mode: 'verify-full', caSecretRef: { name: 'smartem-db-ca' } } },
  });
  expect(await runs.columns('smartem')).toMatchObject({ READY: 'True', RESULT: '' });

  const job = await eventually('a Job of the CronJob', async () => (await runs.jobs('smartem'))[0], { seconds: 90 });
  const { run, status } = await runs.result('smartem', job.metadata!.name!);
  expect(run).toMatchObject({ trigger: 'Schedule', result: 'Succeeded', rows: 3 });
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
  expect(await countOf(database.pool, 'agentconnection', `status = 'timeout'`)).toBe(3);
  expect(await runs.columns('smartem')).toMatchObject({ READY: 'True', RESULT: 'Succeeded', ROWS: '3' });

  await eventually('the Pod to have ended well', async () => {
    const [pod] = await runs.pods(job.metadata!.name!);
    return pod!.status!.phase === 'Succeeded';
  });
});

test('an upgrade with two replicas keeps one at work', async () => {
  const { runs, server } = lab;
  await install(cluster, ['podAnnotations.upgraded=yes']);
  const pods = await cluster.kubectl([
    'get',
    'pods',
    '-n',
    operatorNamespace,
    '-o',
    'jsonpath={.items[*].metadata.annotations}',
  ]);
  expect(pods.stdout.match(/"upgraded":"yes"/g)).toHaveLength(2);
  const database = await server.createDatabase();
  await addConnection(database.pool);
  await runs.applySecret('upgraded-db', database.login);
  await runs.applyPolicy('upgraded', { jobs: [{ name: 'cleanup', operations: ['connections'] }] });
  expect((await runs.runNow('upgraded')).run).toMatchObject({ result: 'Succeeded', rows: 1 });
});

test('the leader’s Pod deleted: the other one takes over', async () => {
  const { runs } = lab;
  const lease = [
    'get',
    'lease',
    'retention-controller',
    '-n',
    operatorNamespace,
    '-o',
    'jsonpath={.spec.holderIdentity}',
  ];
  const leader = (await cluster.kubectl(lease)).stdout.split('_')[0]!;
  expect(leader).toMatch(/^retention-controller-/);
  await cluster.kubectl(['delete', 'pod', leader, '-n', operatorNamespace, '--force', '--grace-period=0']);
  await runs.applySecret('led-db', { uri: 'postgresql://nobody@database/none' });
  await runs.applyPolicy('led');
  expect((await cluster.kubectl(lease)).stdout).not.toContain(leader);
});
