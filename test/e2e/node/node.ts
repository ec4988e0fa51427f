import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChildProcesses } from '../../support/child-processes.ts';
import { eventually } from '../../support/eventually.ts';
import { findNodeBinaries, type Log } from '../../support/kubernetes/binaries.ts';
import type { ControlPlane } from '../../support/kubernetes/control-plane.ts';
import { strictly } from '../../support/kubernetes/kubectl.ts';
import { dnsAddress, dnsPort, podNetwork, writeConfiguration } from './config.ts';
import { machineAddress, type Namespaces, nodeAddress, spawnLogged } from './namespaces.ts';

const nodeName = 'node1';

interface NodeOptions {
  plane: ControlPlane;
  namespaces: Namespaces;
  children: ChildProcesses;
  /** Of containerd's images and containers, too. */
  folder: string;
  log: Log;
  /** Files with the images that the node has. */
  archives: string[];
}

/** Starts containerd, kubelet, kube-proxy, the scheduler and CoreDNS, and waits until the node is ready. */
export async function startNode(options: NodeOptions): Promise<void> {
  const { plane, namespaces, children, folder } = options;
  const binaries = await findNodeBinaries(options.log);
  await writeConfiguration(folder);
  await writeCredentials(plane, folder);
  const file = (name: string) => join(folder, name);
  const here = (name: 'kube-scheduler' | 'coredns', args: string[]) =>
    spawnLogged(children, folder, name, binaries[name], args);

  namespaces.spawn('containerd', 'containerd', ['--config', file('containerd.toml')]);
  const ctr = (args: string[]) => namespaces.run('ctr', ['--address', file('containerd.sock'), ...args]);
  await eventually('containerd to answer', () =>
    ctr(['version']).then(
      () => true,
      () => false,
    ),
  );
  for (const archive of options.archives) await ctr(['--namespace', 'k8s.io', 'images', 'import', archive]);

  here('kube-scheduler', ['--kubeconfig=kube-scheduler.kubeconfig', '--leader-elect=false', '--secure-port=0']);
  here('coredns', ['-conf', 'Corefile']);
  namespaces.spawn('kube-proxy', binaries['kube-proxy'], [
    `--kubeconfig=${file('kube-proxy.kubeconfig')}`,
    `--hostname-override=${nodeName}`,
    '--proxy-mode=iptables',
    `--cluster-cidr=${podNetwork}`,
    '--conntrack-max-per-core=0',
    '--conntrack-tcp-timeout-established=0',
    '--conntrack-tcp-timeout-close-wait=0',
  ]);
  namespaces.spawn('kubelet', binaries.kubelet, [
    `--config=${file('kubelet.yaml')}`,
    `--kubeconfig=${file('kubelet.kubeconfig')}`,
    `--hostname-override=${nodeName}`,
    `--root-dir=${file('kubelet')}`,
    `--cert-dir=${file('kubelet-pki')}`,
    `--node-ip=${nodeAddress}`,
  ]);
  await applyDns(plane);
  await eventually('the node to be ready', () => isReady(plane), { seconds: 90 });
}

async function writeCredentials(plane: ControlPlane, folder: string): Promise<void> {
  const users: Record<string, string[]> = {
    kubelet: [`system:node:${nodeName}`, 'system:nodes'],
    'kube-proxy': ['system:kube-proxy'],
    'kube-scheduler': ['system:kube-scheduler'],
  };
  for (const [file, [user, ...groups]] of Object.entries(users)) {
    await writeFile(join(folder, `${file}.kubeconfig`), await plane.kubeconfigText(user!, groups), { mode: 0o600 });
  }
  await writeFile(join(folder, 'kubeconfig'), await plane.kubeconfigText('coredns', ['system:masters']), {
    mode: 0o600,
  });
  await writeFile(join(folder, 'ca.crt'), plane.caPem);
}

/** The Service of the DNS server, which runs on this machine. */
async function applyDns({ kubectl }: ControlPlane): Promise<void> {
  const namespace = 'kube-system';
  const port = (protocol: string) => ({ name: `dns-${protocol.toLowerCase()}`, protocol, port: 53 });
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kube-dns', namespace },
    spec: { clusterIP: dnsAddress, ports: [port('UDP'), port('TCP')] },
  };
  const slice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'kube-dns', namespace, labels: { 'kubernetes.io/service-name': 'kube-dns' } },
    addressType: 'IPv4',
    ports: [port('UDP'), port('TCP')].map((each) => ({ ...each, port: dnsPort })),
    endpoints: [{ addresses: [machineAddress] }],
  };
  const list = { apiVersion: 'v1', kind: 'List', items: [service, slice] };
  await strictly(kubectl)(['apply', '-f', '-'], JSON.stringify(list));
}

async function isReady({ kubectl }: ControlPlane): Promise<boolean> {
  const ready = '{.status.conditions[?(@.type=="Ready")].status}';
  const { stdout } = await kubectl(['get', 'node', nodeName, '-o', `jsonpath=${ready}`, '--ignore-not-found']);
  return stdout === 'True';
}
