import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  BatchV1Api,
  CoreV1Api,
  CustomObjectsApi,
  type KubeConfig,
  RbacAuthorizationV1Api,
} from '@kubernetes/client-node';
import { afterAll, inject, onTestFinished, TestRunner } from 'vitest';
import { parseKubeconfig } from './kubeconfig.ts';
import { createKubectl, type Kubectl } from './kubectl.ts';
import { hasStatus } from './process-node/errors.ts';

export interface Cluster {
  /** The administrator's. */
  kubeConfig: KubeConfig;
  kubeconfigPath: string;
  core: CoreV1Api;
  batch: BatchV1Api;
  rbac: RbacAuthorizationV1Api;
  customObjects: CustomObjectsApi;
  kubectl: Kubectl;
  /** Makes a namespace with a name of its own; it is deleted, unwaited for, after the calling test, or the file. */
  createNamespace(labels?: Record<string, string>): Promise<string>;
}

/** The control plane of this worker (see global-setup.ts), for a test file. */
export function useCluster(): Cluster {
  const { kubeconfigPath, kubectlPath } = inject('kubernetes')[Number(process.env.VITEST_POOL_ID) - 1]!;
  const kubeConfig = parseKubeconfig(readFileSync(kubeconfigPath, 'utf8'));
  const core = kubeConfig.makeApiClient(CoreV1Api);
  const removeAfterFile: (() => Promise<void>)[] = [];
  afterAll(async () => {
    for (const remove of removeAfterFile) await remove();
  });

  async function createNamespace(labels: Record<string, string> = {}): Promise<string> {
    const name = `test-${randomBytes(4).toString('hex')}`;
    await core.createNamespace({ body: { metadata: { name, labels } } });
    // A test may have deleted it itself.
    const remove = async () => {
      await core.deleteNamespace({ name }).catch((error: unknown) => {
        if (!hasStatus(error, 404)) throw error;
      });
    };
    if (TestRunner.getCurrentTest()) onTestFinished(remove);
    else removeAfterFile.push(remove);
    return name;
  }

  return {
    kubeConfig,
    kubeconfigPath,
    core,
    batch: kubeConfig.makeApiClient(BatchV1Api),
    rbac: kubeConfig.makeApiClient(RbacAuthorizationV1Api),
    customObjects: kubeConfig.makeApiClient(CustomObjectsApi),
    kubectl: createKubectl(kubectlPath, kubeconfigPath),
    createNamespace,
  };
}
