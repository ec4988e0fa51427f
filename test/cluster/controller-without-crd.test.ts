import { CoreV1Api } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { policyLabel } from '../../src/api/policy.ts';
import { isControlledBy, resources } from '../../src/controller/objects.ts';
import { isNotFound } from '../../src/kubernetes/api-error.ts';
import { Client } from '../../src/kubernetes/client.ts';
import type { Connection } from '../../src/kubernetes/connection.ts';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import type { KubernetesObject, Resource } from '../../src/kubernetes/types.ts';
import { controllerConnection, installCrd, installOperator, startController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { type ControlPlane, startControlPlane } from '../support/kubernetes/control-plane.ts';
import { type ForwardingProxy, startForwardingProxy } from '../support/kubernetes/forwarding-proxy.ts';
import { recordingLog } from '../support/log.ts';
import { Policies } from '../support/policies.ts';

const namespace = 'default';
const own: Resource<KubernetesObject>[] = [
  resources.cronJobs as Resource<KubernetesObject>,
  resources.serviceAccounts,
  resources.roles,
  resources.roleBindings,
];

// Its own control plane: it takes the CRD away.
let plane: ControlPlane;
let core: CoreV1Api;
let connection: Connection;
let admin: Client;
let policies: Policies;
beforeAll(async () => {
  plane = await startControlPlane();
  await installOperator(plane);
  core = plane.kubeConfig.makeApiClient(CoreV1Api);
  connection = await controllerConnection({ core, kubeconfigPath: plane.kubeconfigPath });
  admin = new Client(connectionFromKubeconfig(plane.kubeconfigPath));
  policies = new Policies(admin, namespace);
});
afterAll(() => plane?.stop());

async function removeCrd(): Promise<void> {
  const args = ['delete', 'crd', 'retentionpolicies.retention.agentdata.io', '--timeout=60s'];
  expect(await plane.kubectl(args)).toMatchObject({ code: 0 });
}

/** As the garbage collector does; it would take half a minute to learn of the kind first. */
async function collectGarbage(): Promise<void> {
  for (const resource of own) {
    const { items } = await admin.list(resource, { namespace, labelSelector: policyLabel });
    for (const { metadata } of items) {
      // It may come first.
      await admin.delete(resource, metadata, { uid: metadata.uid }).catch((error) => {
        if (!isNotFound(error)) throw error;
      });
    }
  }
}

/** A controller behind a proxy that can hide policies from it. */
async function startBehindProxy() {
  const world = { blind: false, writes: [] as string[] };
  const proxy: ForwardingProxy = await startForwardingProxy(connection, ({ method, url, socket }) => {
    if (method !== 'GET') world.writes.push(`${method} ${url}`);
    if (!world.blind || !url!.includes('/retentionpolicies')) return false;
    socket.destroy();
    return true;
  });
  onTestFinished(() => proxy.close());
  const { log, lines } = recordingLog();
  const logged = (words: string) =>
    eventually(`the log to say ${words}`, async () => lines.some(({ message }) => message.includes(words)));
  const port = Promise.withResolvers<number>();
  const told: typeof log = {
    ...log,
    info: (details, message) => {
      if ('port' in details) port.resolve(details.port as number);
      log.info(details, message);
    },
  };
  const through: Connection = { server: proxy.url, options: async () => ({}) };
  const controller = await startController(
    { core, kubeconfigPath: plane.kubeconfigPath },
    { connection: through, log: told, port: 0 },
  );
  onTestFinished(() => controller.stop());
  const monitoring = `http://127.0.0.1:${await port.promise}`;
  const probe = async (path: string) => (await fetch(`${monitoring}${path}`)).status;
  return { world, proxy, lines, logged, probe };
}

it('a controller that is started before its CRD is not ready, is healthy, and works when it comes', async () => {
  await removeCrd();
  const { logged, probe } = await startBehindProxy();
  await logged('is its CustomResourceDefinition installed');
  expect([await probe('/healthz'), await probe('/readyz')]).toEqual([200, 503]);
  await installCrd(plane);
  await policies.apply('early', { database: { secretRef: { name: 'other' } } });
  await policies.settled('early', 'Ready', 'True');
  expect([await probe('/healthz'), await probe('/readyz')]).toEqual([200, 200]);
});

it('a controller that did not see its policies go with their CRD makes nothing for them, and makes all for those that come', async () => {
  const { world, proxy, lines, logged, probe } = await startBehindProxy();
  await policies.apply('smartem');
  await policies.settled('smartem', 'Ready', 'True');

  world.blind = true;
  proxy.cut();
  await removeCrd();
  world.blind = false;
  await logged('is its CustomResourceDefinition installed');
  expect([await probe('/healthz'), await probe('/readyz')]).toEqual([200, 503]);
  world.writes.length = 0;
  await collectGarbage();
  await eventually('nothing to be left', async () => {
    const lists = own.map((resource) => admin.list(resource, { namespace, labelSelector: policyLabel }));
    return (await Promise.all(lists)).every(({ items }) => items.length === 0);
  });

  await installCrd(plane);
  await logged('knows this kind now');
  expect(world.writes).toEqual([]);
  const { metadata } = await policies.apply('smartem');
  await policies.settled('smartem', 'Ready', 'True');
  const cronJob = await admin.get(resources.cronJobs, { namespace, name: 'smartem-cleanup' });
  expect(isControlledBy(cronJob, metadata.uid!)).toBe(true);
  expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
});
