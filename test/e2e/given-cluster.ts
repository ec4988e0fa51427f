import { say } from '../bench/progress.ts';
import { helm, namespace } from '../support/deploy/helm.ts';
import { findBinary, sourcesFromEnvironment } from '../support/kubernetes/binaries.ts';
import { createKubectl, strictly } from '../support/kubernetes/kubectl.ts';
import { testLabel } from '../support/policy-runs.ts';
import type { E2eCluster } from './own-cluster.ts';

const crd = 'crd/retentionpolicies.retention.agentdata.io';

/**
 * The cluster of KUBECONFIG, such as kind's or k3d's. It has to have the image E2E_IMAGE, and its Pods reach this machine
 * at E2E_MACHINE_ADDRESS. One that has the CRD or the operator's namespace is refused: the tests make them, and take all of
 * it away again.
 */
export async function givenCluster(env: NodeJS.ProcessEnv): Promise<E2eCluster> {
  const { KUBECONFIG: kubeconfigPath, E2E_IMAGE: image, E2E_MACHINE_ADDRESS: machineAddress } = env;
  if (!kubeconfigPath || !image || !machineAddress) {
    throw new Error('with KUBECONFIG, E2E_IMAGE and E2E_MACHINE_ADDRESS have to be set too (see CONTRIBUTING.md)');
  }
  const kubectlPath = await findBinary('kubectl', say, sourcesFromEnvironment());
  const run = createKubectl(kubectlPath, kubeconfigPath);
  const kubectl = async (...args: string[]) => (await strictly(run)(args)).trim();
  const there = await kubectl('get', crd, `namespace/${namespace}`, '--ignore-not-found', '-o', 'name');
  if (there)
    throw new Error(`the cluster of ${kubeconfigPath} has ${there.replace('\n', ' and ')}: the tests want one without`);
  const nodes = await kubectl('get', 'nodes', '--field-selector=spec.unschedulable=false', '-o', 'name');
  return {
    kubeconfigPath,
    kubectlPath,
    image,
    machineAddress,
    async stop() {
      // A test that was interrupted may have drained one; those that have gone meanwhile do not matter.
      await run(['uncordon', ...nodes.split('\n')]);
      await kubectl('delete', 'namespace', '-l', testLabel);
      await helm(['uninstall', 'retention', '--namespace', namespace, '--ignore-not-found'], {
        KUBECONFIG: kubeconfigPath,
      });
      await kubectl('delete', '--ignore-not-found', crd, `namespace/${namespace}`);
    },
  };
}
