import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { machineAddress } from './namespaces.ts';

export const pauseImage = 'localhost/pause:1';
export const podNetwork = '10.88.77.0/24';
export const dnsAddress = '10.0.0.10';
export const dnsPort = 10_053;

/** What containerd, its network plugin, the kubelet and CoreDNS are told; all their files are in `folder`. */
export async function writeConfiguration(folder: string): Promise<void> {
  const at = (name: string) => join(folder, name);
  await mkdir(at('cni'), { recursive: true });
  await writeFile(at('cni/10-pods.conflist'), JSON.stringify(network(at('cni/addresses'))));
  await writeFile(at('containerd.toml'), containerd(at));
  await writeFile(at('kubelet.yaml'), stringify(kubelet(at)));
  await writeFile(at('Corefile'), corefile(at('kubeconfig')));
}

function network(dataDir: string): object {
  const ipam = { type: 'host-local', dataDir, ranges: [[{ subnet: podNetwork }]], routes: [{ dst: '0.0.0.0/0' }] };
  const bridge = { type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: true, hairpinMode: true, ipam };
  return { cniVersion: '0.4.0', name: 'pods', plugins: [bridge] };
}

function containerd(at: (name: string) => string): string {
  return `version = 2
root = "${at('containerd')}"
state = "${at('containerd-state')}"
[grpc]
  address = "${at('containerd.sock')}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "${pauseImage}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${at('cni')}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`;
}

/** As in a machine that is itself a container: it may set neither sysctls nor scores of the OOM killer. */
function kubelet(at: (name: string) => string): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    failCgroupV1: false,
    cgroupDriver: 'cgroupfs',
    containerRuntimeEndpoint: `unix://${at('containerd.sock')}`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: at('ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    clusterDomain: 'cluster.local',
    clusterDNS: [dnsAddress],
    failSwapOn: false,
    featureGates: { KubeletInUserNamespace: true },
    oomScoreAdj: 0,
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    enforceNodeAllocatable: [],
    healthzPort: 0,
    readOnlyPort: 0,
  };
}

function corefile(kubeconfig: string): string {
  return `.:${dnsPort} {
  bind ${machineAddress}
  kubernetes cluster.local in-addr.arpa {
    kubeconfig ${kubeconfig}
  }
  errors
}
`;
}
