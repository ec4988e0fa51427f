import { randomBytes } from 'node:crypto';
import { BatchV1Api, CoreV1Api, CustomObjectsApi, RbacAuthorizationV1Api } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { acquireRunLock } from '../../src/database/run-lock.ts';
import { addConnection, countOf } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import type { Cluster } from '../support/kubernetes/cluster.ts';
import { type ControlPlane, startControlPlane } from '../support/kubernetes/control-plane.ts';
import { conditionOf } from '../support/policies.ts';
import { type RunDatabase, type RunServer, startRunServer } from '../support/postgres/run-database.ts';
import { connector } from '../support/retention.ts';
import { Runs } from '../support/runs.ts';

// These tests take the API server away, so it is their own.
let controlPlane: ControlPlane;
let server: RunServer;
let runs: Runs;

beforeAll(async () => {
  [server, controlPlane] = await Promise.all([startRunServer(), startControlPlane()]);
  runs = await Runs.start(clusterOf(controlPlane));
});

afterAll(async () => {
  await runs?.stop();
  await controlPlane?.stop();
  await server?.stop();
});

function clusterOf({ kubeConfig, kubeconfigPath, kubectl }: ControlPlane): Cluster {
  const core = kubeConfig.makeApiClient(CoreV1Api);
  return {
    kubeConfig,
    kubeconfigPath,
    kubectl,
    core,
    batch: kubeConfig.makeApiClient(BatchV1Api),
    rbac: kubeConfig.makeApiClient(RbacAuthorizationV1Api),
    customObjects: kubeConfig.makeApiClient(CustomObjectsApi),
    createNamespace: async (labels = {}) => {
      const name = `test-${randomBytes(4).toString('hex')}`;
      await core.createNamespace({ body: { metadata: { name, labels } } });
      return name;
    },
  };
}

interface Held {
  database: RunDatabase;
  id: string;
  pod: string;
  /** Lets the run go on. */
  release(): Promise<void>;
}

/** A run whose Pod is there, and which waits for its database. */
async function heldRun(name: string): Promise<Held> {
  const database = await server.createDatabase();
  await addConnection(database.pool);
  await runs.applySecret(`${name}-db`, database.login);
  await runs.applyPolicy(name, { jobs: [{ name: 'cleanup', operations: ['connections'] }] });
  const lock = await acquireRunLock(connector(database.url), 'public', 1_000, new AbortController().signal);
  const id = (await runs.request(name)).metadata!.name!;
  const pod = await runs.runningPod(id);
  return { database, id, pod, release: lock!.release };
}

/** The run does its work with the API server away, and fails to report it. */
async function finishUnreported({ database, pod, release }: Held): Promise<void> {
  await controlPlane.stopApiServer();
  await release();
  await eventually('the row to be closed', async () => {
    return (await countOf(database.pool, 'agentconnection', `status = 'timeout'`)) === 1;
  });
  await eventually('a report that failed', async () => {
    return (await runs.node.logs(runs.namespace, pod)).includes('writing the result to the status failed');
  });
}

async function expectReported(name: string, id: string): Promise<void> {
  const { run, status } = await runs.result(name, id);
  expect(run).toMatchObject({
    result: 'Succeeded',
    rows: 1,
    operations: [{ name: 'connections', closed: 1, batches: 1 }],
  });
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
  expect(await runs.columns(name)).toMatchObject({ RESULT: 'Succeeded', ROWS: '1' });
}

test('without an API server the run happens; its report arrives when the API server is back', async () => {
  const held = await heldRun('patient');
  await finishUnreported(held);
  await controlPlane.startApiServer();
  await expectReported('patient', held.id);
  expect(await runs.exitCode(held.id)).toBe(0);
  const log = await runs.node.logs(runs.namespace, held.pod);
  expect(log, 'it was the runner that reported').not.toContain('it stays as termination message');
});

test('a runner that had to end before that leaves its result in the Pod, and the controller reports it', async () => {
  const held = await heldRun('hurried');
  await finishUnreported(held);
  process.kill(runs.node.pid(runs.namespace, held.pod), 'SIGTERM');
  await eventually('the runner to give up', async () => {
    return (await runs.node.logs(runs.namespace, held.pod)).includes('it stays as termination message');
  });
  await controlPlane.startApiServer();
  await expectReported('hurried', held.id);
});
