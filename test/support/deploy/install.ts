import type { Cluster } from '../kubernetes/cluster.ts';
import { chart, helm, namespace } from './helm.ts';

/** Objects of any installation that belong to no namespace, and that a second one could not take over. */
const clusterWide = [
  'clusterrole/retention-controller',
  'clusterrole/retentionpolicies-view',
  'clusterrole/retentionpolicies-edit',
  'clusterrole/retentionpolicies-admin',
  'clusterrolebinding/retention-controller',
  'crd/retentionpolicies.retention.agentdata.io',
  'validatingadmissionpolicy/audit-trail.retention.agentdata.io',
  'validatingadmissionpolicybinding/audit-trail.retention.agentdata.io',
];

/** Takes away what other tests have installed, as on a cluster that never had any of it. */
export async function uninstallOperator({ kubectl }: Cluster): Promise<void> {
  const objects = ['deployment', 'pdb', 'service', 'serviceaccount', 'role', 'rolebinding'].join(',');
  await kubectl(['delete', objects, '-n', namespace, '-l', 'app.kubernetes.io/name=retention-operator']);
  await kubectl(['delete', '--ignore-not-found', '--wait', ...clusterWide]);
}

/** `helm install` or another command for the release `retention`. */
export function release({ kubeconfigPath }: Cluster, command: string, args: string[] = []): Promise<string> {
  const what = command === 'uninstall' ? ['retention'] : ['retention', chart];
  return helm([command, ...what, '--namespace', namespace, ...args], { KUBECONFIG: kubeconfigPath });
}
