import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import type { V1Container, V1ContainerState } from '@kubernetes/client-node';
import { type ChildProcesses, killChild } from '../../child-processes.ts';
import { terminationMessage } from './termination-message.ts';

export interface ContainerSettings {
  spec: V1Container;
  id: string;
  /** Program and arguments. */
  command: string[];
  folder: string;
  env: Record<string, string>;
  logFile: string;
  messageFile: string;
}

/** The process that stands for a container. */
export class Container {
  readonly startedAt = new Date();
  /** Its last state, once it has ended; also when it could not be started. */
  readonly ended: Promise<V1ContainerState>;
  readonly #settings: ContainerSettings;
  readonly #process: ChildProcess;
  #killTimer: NodeJS.Timeout | undefined;
  #stopping = false;
  #oomKilled = false;

  constructor(children: ChildProcesses, settings: ContainerSettings) {
    this.#settings = settings;
    const [file = '', ...args] = settings.command;
    const log = openSync(settings.logFile, 'a');
    const stdio = ['ignore', log, log] as const;
    this.#process = children.spawn(file, args, { cwd: settings.folder, env: settings.env, stdio: [...stdio] });
    closeSync(log);
    this.ended = new Promise((resolve, reject) => {
      this.#process.once('error', (error) => resolve(this.#startError(error)));
      this.#process.once('exit', (code, signal) => {
        this.#terminated(code ?? 128 + constants.signals[signal!]).then(resolve, reject);
      });
    });
  }

  get started(): boolean {
    return this.#process.pid !== undefined;
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** SIGTERM now, SIGKILL after the grace period; a second call only sets the period anew. */
  stop(graceSeconds: number): void {
    if (!this.#stopping) this.#process.kill('SIGTERM');
    this.#stopping = true;
    clearTimeout(this.#killTimer);
    this.#killTimer = setTimeout(() => void killChild(this.#process), graceSeconds * 1000);
  }

  /** SIGKILL to all its processes, as from the kernel out of memory if so asked. */
  async kill({ oom = false } = {}): Promise<void> {
    this.#oomKilled = oom;
    await killChild(this.#process);
  }

  #startError(error: Error): V1ContainerState {
    const message = `failed to create containerd task: OCI runtime create failed: ${error.message}`;
    const times = { startedAt: new Date(0), finishedAt: new Date() };
    return { terminated: { exitCode: 128, reason: 'StartError', message, ...times, containerID: this.#settings.id } };
  }

  async #terminated(exitCode: number): Promise<V1ContainerState> {
    clearTimeout(this.#killTimer);
    const finishedAt = new Date();
    const { spec, id, messageFile, logFile } = this.#settings;
    const reason = this.#oomKilled ? 'OOMKilled' : exitCode === 0 ? 'Completed' : 'Error';
    const message = await terminationMessage(spec, exitCode, messageFile, logFile);
    return { terminated: { exitCode, reason, message, startedAt: this.startedAt, finishedAt, containerID: id } };
  }
}
