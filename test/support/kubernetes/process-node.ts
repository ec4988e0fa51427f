import { mkdtemp, readFile } from 'node:fs/promises';
import { arch, platform, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CoreV1Api,
  type KubeConfig,
  PatchStrategy,
  setHeaderOptions,
  type V1Node,
  type V1Pod,
} from '@kubernetes/client-node';
import { ChildProcesses } from '../child-processes.ts';
import type { Log } from './binaries.ts';
import { errorMessage, hasStatus } from './process-node/errors.ts';
import { followPods } from './process-node/follow-pods.ts';
import { type Host, PodRun } from './process-node/pod-run.ts';
import { schedule } from './process-node/schedule.ts';

const nodeName = 'process-node';
const nodeLabels = {
  'kubernetes.io/hostname': nodeName,
  'kubernetes.io/os': platform(),
  'kubernetes.io/arch': arch() === 'x64' ? 'amd64' : arch(),
};

export interface ProcessNodeOptions {
  /** The administrator's. */
  kubeConfig: KubeConfig;
  /** Image → the command that stands for its entrypoint; it runs in the project's folder. Others can't be pulled. */
  images: Record<string, string[]>;
  log?: Log;
}

export interface ProcessNode {
  /** Kills the container's processes by SIGKILL, as from the kernel out of memory if `oom`. */
  kill(namespace: string, name: string, options?: { oom?: boolean }): Promise<void>;
  /** The process id of the Pod's running container. */
  pid(namespace: string, name: string): number;
  /** Evicts the Pod, as draining the node does. */
  drain(namespace: string, name: string): Promise<void>;
  /** Standard output and error of the Pod's container, also after the Pod is gone. */
  logs(namespace: string, name: string): Promise<string>;
  /** Kills what runs, and takes the Node away. */
  stop(): Promise<void>;
}

/**
 * A Node that runs Pods as processes of this machine: scheduler and kubelet in one, without a container runtime. A Pod
 * has one container and never restarts. Tokens and mounted files are made once, when the Pod starts.
 */
export async function startProcessNode({
  kubeConfig,
  images,
  log = () => {},
}: ProcessNodeOptions): Promise<ProcessNode> {
  const core = kubeConfig.makeApiClient(CoreV1Api);
  const folder = await mkdtemp(join(tmpdir(), 'retention-node-'));
  const children = new ChildProcesses(folder);
  const watching = new AbortController();
  const writing = new AbortController();
  const environment = kubeletEnvironment(kubeConfig);
  const host: Host = { core, nodeName, log, stopped: writing.signal, children, images, environment };
  const runs = new Map<string, PodRun>();
  const names = new Map<string, PodRun>();

  function changed(pod: V1Pod): void {
    const { uid, namespace, name } = pod.metadata!;
    if (!pod.spec!.nodeName) void schedule(host, nodeLabels, pod);
    if (pod.spec!.nodeName !== nodeName) return;
    const run = runs.get(uid!) ?? new PodRun(host, pod, join(folder, uid!));
    runs.set(uid!, run);
    names.set(`${namespace}/${name}`, run);
    run.update(pod);
  }

  function gone(uid: string): void {
    void runs.get(uid)?.abandon();
    runs.delete(uid);
  }

  function runOf(namespace: string, name: string): PodRun {
    const run = names.get(`${namespace}/${name}`);
    if (!run) throw new Error(`Pod ${namespace}/${name} never came to this node`);
    return run;
  }

  await registerNode(core);
  const followed = followPods(kubeConfig, { changed, gone }, watching.signal, log);

  return {
    kill: (namespace, name, options = {}) => runOf(namespace, name).kill(options),
    pid: (namespace, name) => runOf(namespace, name).pid,
    drain: async (namespace, name) => {
      await core.createNamespacedPodEviction({ name, namespace, body: { metadata: { name, namespace } } });
    },
    logs: async (namespace, name) => readFile(runOf(namespace, name).logFile, 'utf8'),
    stop: async () => {
      watching.abort();
      await followed;
      // The last statuses are written, unless the API server is away.
      await Promise.race([Promise.all([...runs.values()].map((run) => run.abandon())), sleep(3000)]);
      writing.abort();
      await children.close();
      await core.deleteNode({ name: nodeName }).catch((error: unknown) => log(errorMessage(error)));
    },
  };
}

/** What kubelet, container runtime and image give a container; its PATH finds this very node. */
function kubeletEnvironment(kubeConfig: KubeConfig): Record<string, string> {
  const { hostname, port } = new URL(kubeConfig.getCurrentCluster()!.server);
  return {
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    HOME: '/',
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
  };
}

async function registerNode(core: CoreV1Api): Promise<void> {
  const node: V1Node = { metadata: { name: nodeName, labels: nodeLabels } };
  await core.createNode({ body: node }).catch((error: unknown) => {
    if (!hasStatus(error, 409)) throw error;
  });
  // Admission taints every new Node as not ready; the controller that would take that away does not run.
  const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
  await core.patchNode({ name: nodeName, body: { spec: { taints: null } } }, merge);
  const now = new Date();
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: 'KubeletReady',
    message: 'the process node runs Pods as processes',
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  };
  const capacity = { cpu: '64', memory: '256Gi', pods: '110' };
  await core.patchNodeStatus(
    { name: nodeName, body: { status: { conditions: [ready], capacity, allocatable: capacity } } },
    merge,
  );
}
