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

test('while an upgrade replaces both replicas, one is always available', async () => {
  const { runs, server } = lab;
  const kubectl = async (...args: string[]) => (await cluster.kubectl([...args, '-n', operatorNamespace])).stdout;
  const available: string[] = [];
  let upgraded = false;
  const upgrade = install(cluster, ['podAnnotations.upgraded=yes']).finally(() => {
    upgraded = true;
  });
  while (!upgraded) {
    const ready = '{.status.availableReplicas}';
    available.push(await kubectl('get', 'deployment', 'retention-controller', '-o', `jsonpath=${ready}`));
  }
  await upgrade;
  expect(available.filter((replicas) => !(Number(replicas) >= 1))).toEqual([]);
  expect(available.length).toBeGreaterThan(3);
  const annotations = await kubectl('get', 'pods', '-o', 'jsonpath={.items[*].metadata.annotations}');
  expect(annotations.match(/"upgraded":"yes"/g)!.length).toBeGreaterThanOrEqual(2);

  const database = await server.createDatabase();
  await addConnection(database.pool);
  await runs.applySecret('upgraded-db', database.login);
  await runs.applyPolicy('upgraded', { jobs: [{ name: 'cleanup', operations: ['connections'] }] });
  expect((await runs.runNow('upgraded')).run).toMatchObject({ result: 'Succeeded', rows: 1 });
});

test('the leader’s Pod deleted: another one takes over', async () => {
  const { runs } = lab;
  const holder = async () => {
    const lease = ['get', 'lease', 'retention-controller', '-n', operatorNamespace];
    const { stdout } = await cluster.kubectl([...lease, '-o', 'jsonpath={.spec.holderIdentity}']);
    return /^(retention-controller-.+)_/.exec(stdout)?.[1];
  };
  const leader = await eventually('a leader', holder);
  await cluster.kubectl(['delete', 'pod', leader, '-n', operatorNamespace]);
  await eventually(
    'another leader',
    async () => {
      const next = await holder();
      return next !== undefined && next !== leader;
    },
    { seconds: 60 },
  );
  await runs.applySecret('led-db', { uri: 'postgresql://nobody@database/none' });
  await runs.applyPolicy('led');
});
