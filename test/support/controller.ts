import { type ControllerOptions, runController } from '../../src/controller/controller.ts';
import { Client } from '../../src/kubernetes/client.ts';
import type { Connection } from '../../src/kubernetes/connection.ts';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import type { Cluster } from './kubernetes/cluster.ts';
import { established } from './kubernetes/established.ts';
import { strictly } from './kubernetes/kubectl.ts';
import { silent } from './log.ts';

export const runnerImage = 'registry.invalid/retention-operator:test';
const controllerNamespace = 'retention-system';
const controllerAccount = 'retention-controller';

/** Applies deploy/base: the CRD, and the controller's service account with its rights. */
export function installOperator(cluster: Pick<Cluster, 'kubectl'>): Promise<void> {
  return apply(cluster, 'deploy/base');
}

/** Applies the CRD alone. */
export function installCrd(cluster: Pick<Cluster, 'kubectl'>): Promise<void> {
  return apply(cluster, 'crds');
}

async function apply({ kubectl }: Pick<Cluster, 'kubectl'>, folder: string): Promise<void> {
  await strictly(kubectl)(['apply', '--server-side', '--force-conflicts', '-k', folder]);
  await established(kubectl);
}

/** A connection with the controller's own rights, and no more. */
export async function controllerConnection({
  core,
  kubeconfigPath,
}: Pick<Cluster, 'core' | 'kubeconfigPath'>): Promise<Connection> {
  const { status } = await core.createNamespacedServiceAccountToken({
    namespace: controllerNamespace,
    name: controllerAccount,
    body: { spec: { audiences: [], expirationSeconds: 3600 } },
  });
  const admin = connectionFromKubeconfig(kubeconfigPath);
  const headers = { authorization: `Bearer ${status!.token}` };
  return { server: admin.server, options: async () => ({ ca: (await admin.options()).ca, headers }) };
}

/** A client with the administrator's rights. */
export function adminClient({ kubeconfigPath }: Cluster): Client {
  return new Client(connectionFromKubeconfig(kubeconfigPath));
}

/** Runs the controller in this process until `stop`. */
export async function startController(
  cluster: Pick<Cluster, 'core' | 'kubeconfigPath'>,
  options: Partial<ControllerOptions> = {},
): Promise<{ stop(): Promise<void> }> {
  const connection = options.connection ?? (await controllerConnection(cluster));
  const stopping = new AbortController();
  const running = runController({
    image: runnerImage,
    log: silent,
    ...options,
    connection,
    signal: stopping.signal,
  });
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}
