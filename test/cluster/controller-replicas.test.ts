import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { resources } from '../../src/controller/objects.ts';
import type { Client } from '../../src/kubernetes/client.ts';
import { leases } from '../../src/kubernetes/leader-election.ts';
import { adminClient, installOperator } from '../support/controller.ts';
import { eventually, soon } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { Policies } from '../support/policies.ts';

const cluster = useCluster();
const lease = { namespace: 'retention-system', name: 'retention-controller' };
let client: Client;
beforeAll(async () => {
  await installOperator(cluster);
  client = adminClient(cluster);
});

interface Replica {
  kill(signal: NodeJS.Signals): Promise<number | null>;
  get(path: string): Promise<{ status: number; text: string }>;
}

/** A controller process as the Deployment starts it, once it serves its probes. */
async function startReplica(namespace: string): Promise<Replica> {
  const child = spawn(process.execPath, ['bin/retention.js', 'controller', '--port', '0', '--namespace', namespace], {
    env: {
      PATH: process.env.PATH,
      KUBECONFIG: cluster.kubeconfigPath,
      RETENTION_RUNNER_IMAGE: 'example.com/retention:7',
      RETENTION_LEASE_NAMESPACE: lease.namespace,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit').then(([code]: (number | null)[]) => code ?? null);
  const kill = (signal: NodeJS.Signals) => {
    child.kill(signal);
    return ended;
  };
  onTestFinished(async () => void (await kill('SIGKILL')));
  const { promise: port, resolve } = Promise.withResolvers<number>();
  createInterface(child.stderr).on('line', (line) => {
    const { port } = JSON.parse(line);
    if (port) resolve(port);
  });
  const base = `http://127.0.0.1:${await port}`;
  const get = async (path: string) => {
    const answer = await fetch(base + path);
    return { status: answer.status, text: await answer.text() };
  };
  await eventually('the caches to be filled', async () => (await get('/readyz')).status === 200);
  return { kill, get };
}

const leads = async (replica: Replica) =>
  (await replica.get('/metrics')).text.includes('\nretention_controller_leader 1\n');

it('of two replicas one works; when it is killed the other takes over, and writes nothing that is there', async () => {
  const policies = new Policies(client, await cluster.createNamespace());
  const { namespace } = policies;
  const replicas = [await startReplica(namespace), await startReplica(namespace)];
  const first = await eventually('a leader', async () => {
    for (const replica of replicas) if (await leads(replica)) return replica;
    return undefined;
  });
  const second = replicas.find((replica) => replica !== first)!;
  const at = await policies.ask('smartem');
  await policies.settled('smartem', 'Ready', 'True');
  await policies.statusOf('smartem', 'the request to be handled', (status) => status.lastHandledRunRequest === at);
  expect(await leads(second)).toBe(false);
  expect((await second.get('/metrics')).text).not.toContain('retention_policy_info{');
  const ready = `retention_policy_ready{namespace="${namespace}",policy="smartem"} 1`;
  await vi.waitFor(async () => expect((await first.get('/metrics')).text).toContain(ready), soon);
  const objects = async () => {
    const [cronJobs, jobs] = await Promise.all([
      client.list(resources.cronJobs, { namespace }),
      client.list(resources.jobs, { namespace }),
    ]);
    return [...cronJobs.items, ...jobs.items].map(({ metadata }) => [metadata.name, metadata.uid, metadata.generation]);
  };
  const before = await objects();
  expect(before).toHaveLength(2);

  await first.kill('SIGKILL');
  const killed = performance.now();
  await eventually('the other to lead', () => leads(second), { seconds: 40 });
  // The Lease's duration, a look and a try, and what a busy machine takes for them.
  expect(performance.now() - killed).toBeLessThan(15_000 + 2 * 4_400 + 10_000);
  // Reconciled anew, which shows in a policy that comes after.
  await policies.apply('later', { database: { secretRef: { name: 'other' } } });
  await policies.settled('later', 'Ready', 'True');
  expect((await objects()).filter(([name]) => !String(name).startsWith('later'))).toEqual(before);
  const metrics = (await second.get('/metrics')).text;
  expect(metrics).toMatch(/^retention_controller_reconcile_total{result="success"} [1-9]/m);
  expect(metrics).toMatch(/^retention_controller_api_writes_total{verb="patch",kind="CronJob",code="200"} 1$/m);
  expect((await second.get('/healthz')).status).toBe(200);

  expect(await second.kill('SIGTERM')).toBe(0);
  expect((await client.get(leases, lease)).spec?.holderIdentity).toBe('');
});

it('a replica that has lost its Lease ends at once, with 1', async () => {
  const { namespace } = new Policies(client, await cluster.createNamespace());
  const replica = await startReplica(namespace);
  await eventually('it to lead', () => leads(replica), { seconds: 40 });
  await client.mergePatch(leases, lease, { spec: { holderIdentity: 'thief' } }, { fieldManager: 'test' });
  const ended = await Promise.race([replica.kill('SIGCONT'), eventually('never', async () => undefined)]);
  expect(ended).toBe(1);
  await client.delete(leases, lease);
});
