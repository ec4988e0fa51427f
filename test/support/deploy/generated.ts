import { template } from './helm.ts';

const header = '# Made from deploy/chart by `npm run generate`; do not edit.\n';
/** Helm's own labels, which would be untrue of what kustomize applies. */
const helmLabels = /^ +(helm\.sh\/chart|app\.kubernetes\.io\/(managed-by|instance|version)): \S+\n/gm;

const everything = [
  '--set=metrics.serviceMonitor.enabled=true',
  '--set=metrics.prometheusRule.enabled=true',
  '--set=metrics.dashboard.enabled=true',
  '--set=networkPolicy.enabled=true',
];

/** Template of the chart → the file of kustomize's that is made from it. */
const files: Record<string, string> = {
  deployment: 'deploy/base/deployment.yaml',
  poddisruptionbudget: 'deploy/base/poddisruptionbudget.yaml',
  rbac: 'deploy/base/rbac.yaml',
  service: 'deploy/base/service.yaml',
  'user-roles': 'deploy/base/user-roles.yaml',
  dashboard: 'deploy/components/monitoring/dashboard.yaml',
  prometheusrule: 'deploy/components/monitoring/prometheusrule.yaml',
  servicemonitor: 'deploy/components/monitoring/servicemonitor.yaml',
  networkpolicy: 'deploy/components/network-policy/networkpolicy.yaml',
};

/** File → text of all that kustomize applies and that is made from the chart, so that both have one source. */
export async function kustomizeFiles(): Promise<Map<string, string>> {
  const rendered = await template(everything);
  const documents = rendered.split(/^---\n# Source: retention-operator\/templates\/(.+)\.yaml\n/m).slice(1);
  const texts = new Map<string, string>();
  for (let index = 0; index < documents.length; index += 2) {
    const file = files[documents[index]!];
    if (!file) continue;
    const manifest = `${documents[index + 1]!.trim()}\n`.replaceAll(helmLabels, '');
    const before = texts.get(file);
    texts.set(file, before ? `${before}---\n${manifest}` : header + manifest);
  }
  return texts;
}
