import { say } from '../bench/progress.ts';
import { helm, namespace } from '../support/deploy/helm.ts';
import { findBinary, sourcesFromEnvironment } from '../support/kubernetes/binaries.ts';
import { createKubectl } from '../support/kubernetes/kubectl.ts';
import type { E2eCluster } from './own-cluster.ts';

const crd = 'crd/retentionpolicies.retention.agentdata.io';

/**
 * The cluster of KUBECONFIG, such as kind's or k3d's. It has to have the image E2E_IMAGE, and its Pods reach this machine
 * at E2E_MACHINE_ADDRESS. One that has the CRD is refused: the tests install it, and take all of it away again.
 */
export async function givenCluster(env: NodeJS.ProcessEnv): Promise<E2eCluster> {
  const { KUBECONFIG: kubeconfigPath, E2E_IMAGE: image, E2E_MACHINE_ADDRESS: machineAddress } = env;
  if (!kubeconfigPath || !image || !machineAddress) {
    throw new Error('with KUBECONFIG, E2E_IMAGE and E2E_MACHINE_ADDRESS have to be set too (see CONTRIBUTING.md)');
  }
  const kubectlPath = await findBinary('kubectl', say, sourcesFromEnvironment());
  const kubectl = createKubectl(kubectlPath, kubeconfigPath);
  const { code, stdout, stderr } = await kubectl(['get', crd, '--ignore-not-found', '-o', 'name']);
  if (code !== 0) throw new Error(`the cluster of KUBECONFIG does not answer: ${stderr.trim()}`);
  if (stdout) throw new Error(`the cluster of ${kubeconfigPath} has ${crd} already: the tests want one without`);
  const stop = async () => {
    await helm(['uninstall', 'retention', '--namespace', namespace, '--ignore-not-found'], {
      KUBECONFIG: kubeconfigPath,
    });
    await kubectl(['delete', '--ignore-not-found', crd, `namespace/${namespace}`]);
  };
  return { kubeconfigPath, kubectlPath, image, machineAddress, stop };
}
