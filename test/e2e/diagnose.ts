import { namespace } from '../support/deploy/helm.ts';
import { createKubectl } from '../support/kubernetes/kubectl.ts';
import type { E2eCluster } from './own-cluster.ts';

/** Tells what the cluster looks like after a failure, before it is gone. */
export async function diagnose({ kubeconfigPath, kubectlPath }: E2eCluster): Promise<void> {
  const kubectl = createKubectl(kubectlPath, kubeconfigPath);
  for (const args of [
    ['get', 'nodes,retentionpolicies,jobs,pods', '--all-namespaces', '-o', 'wide'],
    ['get', 'events', '--all-namespaces', '--sort-by=.metadata.creationTimestamp'],
    ['logs', 'deployment/retention-controller', '-n', namespace, '--all-pods', '--tail=50'],
  ]) {
    const { stdout, stderr } = await kubectl(args);
    process.stderr.write(`\n# kubectl ${args.join(' ')}\n${stdout.split('\n').slice(-100).join('\n')}${stderr}\n`);
  }
}
