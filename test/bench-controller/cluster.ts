import { CoreV1Api } from '@kubernetes/client-node';
import { resources, type StoredPolicy } from '../../src/controller/objects.ts';
import { Client } from '../../src/kubernetes/client.ts';
import type { Connection } from '../../src/kubernetes/connection.ts';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import { Informer } from '../../src/kubernetes/informer.ts';
import type { KubernetesObject, Resource } from '../../src/kubernetes/types.ts';
import { say } from '../bench/progress.ts';
import { controllerConnection, installOperator } from '../support/controller.ts';
import { type ControlPlane, startControlPlane } from '../support/kubernetes/control-plane.ts';
import { silent } from '../support/log.ts';
import { policyManifest } from '../support/policies.ts';

/** Where the policies are. */
export const namespaces = Array.from({ length: 10 }, (_, number) => `bench-${number}`);

/** A control plane with the operator installed, and nothing else running on it. */
export interface BenchCluster {
  plane: ControlPlane;
  admin: Client;
  /** With the controller's own rights. */
  connection: Connection;
}

export async function startBenchCluster(): Promise<BenchCluster> {
  const plane = await startControlPlane({ log: say });
  const core = plane.kubeConfig.makeApiClient(CoreV1Api);
  await installOperator(plane);
  for (const name of namespaces) await core.createNamespace({ body: { metadata: { name } } });
  const admin = new Client(connectionFromKubeconfig(plane.kubeconfigPath));
  return { plane, admin, connection: await controllerConnection({ core, kubeconfigPath: plane.kubeconfigPath }) };
}

/** Applies policies number `from` to before `to`, each on a Secret of its own, as their users do. */
export async function applyPolicies(admin: Client, from: number, to: number): Promise<StoredPolicy[]> {
  const stored: StoredPolicy[] = [];
  let next = from;
  const work = async () => {
    while (next < to) {
      const number = next++;
      const { metadata, ...manifest } = policyManifest(namespaces[number % namespaces.length]!, `policy-${number}`, {
        database: { secretRef: { name: `db-${number}` } },
        schedule: '17 3 * * *',
      });
      stored.push(
        await admin.apply(resources.policies, { metadata, ...manifest }, { fieldManager: 'user', force: true }),
      );
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
  return stored;
}

/** What is seen of a kind of object, as it comes; until `stop`. */
export async function watchAll<T extends KubernetesObject>(
  admin: Client,
  resource: Resource<T>,
  onChange: (object: T) => void,
): Promise<{ list(): T[]; stop(): Promise<void> }> {
  const stopping = new AbortController();
  const informer = new Informer<T>({
    client: admin,
    resource,
    log: silent,
    relistMs: 24 * 3_600_000,
    onChange: (_, current) => current && onChange(current),
  });
  const running = informer.run(stopping.signal);
  await informer.synced;
  return {
    list: () => informer.list(),
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
