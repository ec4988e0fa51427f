import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { V1ContainerState, V1Pod } from '@kubernetes/client-node';
import type { ChildProcesses } from '../../child-processes.ts';
import { Container } from './container.ts';
import { containerEnvironment, expand, type Mount } from './environment.ts';
import { errorMessage } from './errors.ts';
import { removePod, type Writer, writeEvent, writeStatus } from './pod-writer.ts';
import { containerId, type PodProgress, podStatus } from './status.ts';
import { mountVolumes } from './volumes.ts';

const retryInterval = 500;
const projectFolder = join(import.meta.dirname, '../../../..');

/** What all Pods of a node share. */
export interface Host extends Writer {
  children: ChildProcesses;
  /** Image → the command that stands for its entrypoint. */
  images: Record<string, string[]>;
  /** The environment that the kubelet and the images give every container. */
  environment: Record<string, string>;
}

/** One Pod of the node, from its first status to its removal, as a kubelet's pod worker treats it. */
export class PodRun {
  /** Resolves when the Pod needs the node no more. */
  readonly finished: Promise<void>;
  readonly #host: Host;
  readonly #folder: string;
  /** Aborted when the container is to end, for whatever reason. */
  readonly #end = new AbortController();
  readonly #deletion = Promise.withResolvers<void>();
  #pod: V1Pod;
  #container: Container | undefined;
  #graceSeconds = 0;
  #failure: PodProgress['failure'];
  #abandoned = false;

  constructor(host: Host, pod: V1Pod, folder: string) {
    this.#host = host;
    this.#pod = pod;
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
    this.finished = this.#live();
  }

  get logFile(): string {
    return join(this.#folder, 'log');
  }

  /** The Pod has changed. */
  update(pod: V1Pod): void {
    // An event may be older than the answer to this node's own last write.
    if (BigInt(pod.metadata!.resourceVersion!) < BigInt(this.#pod.metadata!.resourceVersion!)) return;
    this.#pod = pod;
    if (!pod.metadata!.deletionTimestamp) return;
    this.#stop(pod.metadata!.deletionGracePeriodSeconds ?? 0);
    this.#deletion.resolve();
  }

  /** The Pod is gone from the API, or the node stops: what runs is killed at once, what waits stays as it is. */
  async abandon(): Promise<void> {
    this.#abandoned = true;
    this.#end.abort();
    this.#deletion.resolve();
    await this.#container?.kill();
    await this.finished;
  }

  /** Kills the container's processes. */
  async kill(options: { oom?: boolean }): Promise<void> {
    await this.#running.kill(options);
  }

  get pid(): number {
    return this.#running.pid;
  }

  get #running(): Container {
    if (!this.#container?.started) throw new Error(`Pod ${this.#pod.metadata!.name} has no running container`);
    return this.#container;
  }

  async #live(): Promise<void> {
    try {
      if (!['Succeeded', 'Failed'].includes(this.#pod.status?.phase ?? '')) await this.#runToEnd();
      await this.#deletion.promise;
      if (this.#pod.metadata!.deletionTimestamp) await removePod(this.#host, this.#pod);
    } catch (error) {
      this.#host.log(`Pod ${this.#pod.metadata!.name}: ${errorMessage(error)}`);
    }
  }

  async #runToEnd(): Promise<void> {
    const before = this.#pod.status?.containerStatuses?.[0]?.state;
    if (before?.running || before?.terminated) return this.#write(lost);
    this.#failure = unsupported(this.#pod);
    if (this.#failure) return this.#write({ waiting: { reason: 'ContainerCreating' } });

    const deadline = this.#watchDeadline();
    try {
      await this.#write(await this.#runContainer());
    } catch (error) {
      if (!this.#end.signal.aborted) throw error;
      // It never started.
      if (!this.#abandoned) await this.#write(lost);
    } finally {
      clearTimeout(deadline);
      this.#container = undefined;
    }
  }

  /** Resolves to the container's last state. Throws when the Pod is to end before it has started. */
  async #runContainer(): Promise<V1ContainerState> {
    await this.#write({ waiting: { reason: 'ContainerCreating' } });
    const mounts = await this.#mount();
    const entrypoint = await this.#pullImage();
    const env = await this.#configure(mounts);
    const spec = this.#spec;
    this.#container = new Container(this.#host.children, {
      spec,
      id: containerId(this.#pod),
      command: [...(spec.command ?? entrypoint), ...(spec.args ?? [])].map((word) => expand(word, env)),
      folder: spec.workingDir ?? projectFolder,
      env,
      logFile: this.logFile,
      messageFile: this.#messageFile,
    });
    if (this.#container.started) {
      await this.#event('Normal', 'Created', 'Container created');
      await this.#event('Normal', 'Started', 'Container started');
      if (this.#end.signal.aborted) this.#container.stop(this.#graceSeconds);
      await this.#write({ running: { startedAt: this.#container.startedAt } });
    }
    const last = await this.#container.ended;
    if (!this.#container.started) await this.#event('Warning', 'Failed', `Error: ${last.terminated!.message}`);
    return last;
  }

  async #mount(): Promise<Mount[]> {
    const mounts = await this.#retry(
      () => mountVolumes(this.#pod, join(this.#folder, 'volumes'), this.#host.core),
      (message) => writeEvent(this.#host, this.#pod, 'Warning', 'FailedMount', message),
    );
    writeFileSync(this.#messageFile, '');
    const mountPath = this.#spec.terminationMessagePath ?? '/dev/termination-log';
    return [...mounts, { mountPath, path: this.#messageFile }];
  }

  /** The command of the image. An unknown one goes through the states and Events of a pull that fails, and stays there. */
  async #pullImage(): Promise<string[]> {
    const { image = '', imagePullPolicy } = this.#spec;
    const entrypoint = this.#host.images[image];
    if (entrypoint) {
      await this.#event('Normal', 'Pulled', `Container image "${image}" already present on machine`);
      return entrypoint;
    }
    if (imagePullPolicy === 'Never') {
      const message = `Container image "${image}" is not present with pull policy of Never`;
      await this.#wait('ErrImageNeverPull', message);
    } else {
      const cause = `failed to pull and unpack image "${image}": failed to resolve image: ${image}: not found`;
      await this.#event('Normal', 'Pulling', `Pulling image "${image}"`);
      await this.#event('Warning', 'Failed', `Failed to pull image "${image}": ${cause}`);
      await this.#wait('ErrImagePull', cause);
      await this.#pause();
      await this.#event('Normal', 'BackOff', `Back-off pulling image "${image}"`);
      await this.#wait('ImagePullBackOff', `Back-off pulling image "${image}": ErrImagePull: ${cause}`);
    }
    for (;;) await this.#pause();
  }

  async #configure(mounts: Mount[]): Promise<Record<string, string>> {
    const base = { ...this.#host.environment, HOSTNAME: this.#pod.metadata!.name!.slice(0, 63) };
    return this.#retry(
      () => containerEnvironment(this.#pod, base, mounts, this.#host.core),
      (message) => this.#wait('CreateContainerConfigError', message, message),
    );
  }

  /** The container waits for this reason, and an Event says so. */
  async #wait(reason: string, message: string, error = reason): Promise<void> {
    await this.#event('Warning', 'Failed', `Error: ${error}`);
    await this.#write({ waiting: { reason, message } });
  }

  /** Tries until it succeeds; tells of a failure whose message is new. Throws when the Pod is to end. */
  async #retry<T>(attempt: () => Promise<T>, onFailure: (message: string) => Promise<void>): Promise<T> {
    let last = '';
    for (;;) {
      this.#end.signal.throwIfAborted();
      try {
        return await attempt();
      } catch (error) {
        const message = errorMessage(error);
        if (message !== last) await onFailure(message);
        last = message;
      }
      await this.#pause();
    }
  }

  #pause(): Promise<void> {
    return sleep(retryInterval, undefined, { signal: this.#end.signal });
  }

  #stop(graceSeconds: number): void {
    this.#graceSeconds = graceSeconds;
    if (this.#container && !this.#end.signal.aborted) {
      void this.#event('Normal', 'Killing', `Stopping container ${this.#spec.name}`);
    }
    this.#end.abort();
    this.#container?.stop(graceSeconds);
  }

  #watchDeadline(): NodeJS.Timeout | undefined {
    const { activeDeadlineSeconds, terminationGracePeriodSeconds = 30 } = this.#pod.spec!;
    if (activeDeadlineSeconds === undefined) return undefined;
    const message = 'Pod was active on the node longer than the specified deadline';
    return setTimeout(() => {
      this.#failure = { reason: 'DeadlineExceeded', message };
      this.#stop(terminationGracePeriodSeconds);
    }, activeDeadlineSeconds * 1000);
  }

  get #spec() {
    return this.#pod.spec!.containers[0]!;
  }

  get #messageFile(): string {
    return join(this.#folder, 'termination-log');
  }

  async #write(state: V1ContainerState): Promise<void> {
    const written = await writeStatus(
      this.#host,
      this.#pod,
      podStatus(this.#pod, { state, failure: this.#failure }, new Date()),
    );
    if (written) this.update(written);
  }

  /** An Event about the container. */
  #event(type: 'Normal' | 'Warning', reason: string, message: string): Promise<void> {
    return writeEvent(this.#host, this.#pod, type, reason, message, 'container');
  }
}

/** What a kubelet says of a container that it can no longer find. */
const lost: V1ContainerState = {
  terminated: {
    exitCode: 137,
    reason: 'ContainerStatusUnknown',
    message: 'The container could not be located when the pod was terminated',
  },
};

function unsupported({ spec }: V1Pod): PodProgress['failure'] {
  if (spec!.containers.length === 1 && !spec!.initContainers?.length && spec!.restartPolicy === 'Never')
    return undefined;
  const message = 'the process node runs Pods of one container whose restartPolicy is Never';
  return { reason: 'UnexpectedAdmissionError', message };
}
