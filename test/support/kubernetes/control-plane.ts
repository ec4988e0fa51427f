import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiException, CoreV1Api, type KubeConfig } from '@kubernetes/client-node';
import { ChildProcesses, killChild } from '../child-processes.ts';
import { type CertificateAuthority, createCertificateAuthority } from '../pki.ts';
import { findBinaries, type Log } from './binaries.ts';
import { compactEtcd, type Host, startApiServer, startControllerManager, startEtcd, writeKeys } from './components.ts';
import { kubeconfigText, parseKubeconfig } from './kubeconfig.ts';
import { createKubectl, type Kubectl } from './kubectl.ts';

export interface ControlPlane {
  /** `https://<address>:<port>` */
  server: string;
  caPem: string;
  /** For the administrator (group system:masters). */
  kubeconfigPath: string;
  kubeConfig: KubeConfig;
  kubectlPath: string;
  kubectl: Kubectl;
  ca: CertificateAuthority;
  /** A kubeconfig for a user with a client certificate of these groups, and with no more rights than these have. */
  kubeconfigText(name: string, groups?: string[]): Promise<string>;
  userKubeConfig(name: string, groups?: string[]): Promise<KubeConfig>;
  /** Kills the API server: every connection and watch breaks, new ones are refused. */
  stopApiServer(): Promise<void>;
  /** Starts it again, on the same port and data, and waits until it is ready. */
  startApiServer(): Promise<void>;
  /** Kills etcd: the API server can read and write nothing any more. */
  stopEtcd(): Promise<void>;
  /** Starts it again, on the same data. */
  startEtcd(): Promise<void>;
  /** Compacts etcd to its newest revision: older ones are gone, for lists and for watches. */
  compactEtcd(): Promise<void>;
  /** Ends all processes and removes their state. */
  stop(): Promise<void>;
}

interface ControlPlaneOptions {
  log?: Log;
  /** An address of this machine that real nodes reach; without it the API server listens on loopback only. */
  address?: string;
}

/**
 * Starts etcd, kube-apiserver (TLS, RBAC) and kube-controller-manager on this machine. Returns when the API server is
 * ready and the controllers work. The processes end with this one, however it ends.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const { log = () => {}, address = '127.0.0.1' } = options;
  const binaries = await findBinaries(log);
  const folder = await mkdtemp(join(tmpdir(), 'retention-kubernetes-'));
  const children = new ChildProcesses(folder);
  try {
    const ca = await createCertificateAuthority('retention-test-ca');
    return await start({ folder, binaries, children, ca, address });
  } catch (error) {
    await children.close();
    throw error;
  }
}

async function start(host: Host): Promise<ControlPlane> {
  const { folder, ca, children, binaries } = host;
  await writeKeys(host);
  let etcd = await startEtcd(host);
  let apiServer = await startApiServer(host);

  const server = `https://${host.address}:${apiServer.port}`;
  const kubeconfigFor = async (name: string, groups: string[] = []) =>
    kubeconfigText(server, ca.certificate, await ca.issueClient(name, groups));
  const admin = await kubeconfigFor('admin', ['system:masters']);
  const kubeConfig = parseKubeconfig(admin);
  const kubeconfigPath = join(folder, 'kubeconfig');
  await writeFile(kubeconfigPath, admin, { mode: 0o600 });

  const manager = await kubeconfigFor('system:kube-controller-manager');
  await writeFile(join(folder, 'controller-manager.kubeconfig'), manager, { mode: 0o600 });
  startControllerManager(host);
  await waitForDefaultServiceAccount(kubeConfig);

  return {
    server,
    caPem: ca.certificate,
    kubeconfigPath,
    kubeConfig,
    kubectlPath: binaries.kubectl,
    kubectl: createKubectl(binaries.kubectl, kubeconfigPath),
    ca,
    kubeconfigText: kubeconfigFor,
    userKubeConfig: async (name, groups) => parseKubeconfig(await kubeconfigFor(name, groups)),
    stopApiServer: () => killChild(apiServer.process),
    startApiServer: async () => {
      apiServer = await startApiServer(host, apiServer.port);
    },
    stopEtcd: () => killChild(etcd),
    startEtcd: async () => {
      etcd = await startEtcd(host);
    },
    compactEtcd: () => compactEtcd(host),
    stop: () => children.close(),
  };
}

/** Pods need it, and that it is there shows that the controllers work. */
async function waitForDefaultServiceAccount(kubeConfig: KubeConfig): Promise<void> {
  const core = kubeConfig.makeApiClient(CoreV1Api);
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      await core.readNamespacedServiceAccount({ name: 'default', namespace: 'default' });
      return;
    } catch (error) {
      if (!(error instanceof ApiException) || error.code !== 404) throw error;
      if (Date.now() > deadline) {
        throw new Error('kube-controller-manager made no service account within 60 s', { cause: error });
      }
      await sleep(50);
    }
  }
}
