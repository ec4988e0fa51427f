import { pino } from 'pino';
import { installOperator, runnerImage, startController } from './controller.ts';
import type { Cluster } from './kubernetes/cluster.ts';
import { type ProcessNode, startProcessNode } from './kubernetes/process-node.ts';
import { PolicyRuns, restricted } from './policy-runs.ts';

interface RunsOptions {
  /** The image that the controller gives to Pods; the node has only `runnerImage`. */
  image?: string;
}

/**
 * One namespace in which policies run for real: the controller with its own account's rights, a node that runs Pods as
 * processes, and the runner itself. Everything a user does goes through kubectl.
 */
export class Runs extends PolicyRuns {
  readonly node: ProcessNode;
  readonly #logLines: string[] = [];
  #controller: { stop(): Promise<void> } | undefined;

  private constructor(cluster: Cluster, namespace: string, node: ProcessNode) {
    super(cluster, namespace);
    this.node = node;
  }

  /** Installs the operator, and starts the node unless there is one, and the controller for a new namespace. */
  static async start(cluster: Cluster, options: RunsOptions & { node?: ProcessNode } = {}): Promise<Runs> {
    await installOperator(cluster);
    const namespace = await cluster.createNamespace(restricted);
    const images = { [runnerImage]: [process.execPath, 'bin/retention.js'] };
    const node = options.node ?? (await startProcessNode({ kubeConfig: cluster.kubeConfig, images }));
    const runs = new Runs(cluster, namespace, node);
    await runs.startController(options);
    return runs;
  }

  async startController({ image = runnerImage }: RunsOptions = {}): Promise<void> {
    await this.#controller?.stop();
    const log = pino({ level: 'debug' }, { write: (line: string) => this.#logLines.push(line) });
    this.#controller = await startController(this.cluster, { image, log, namespaces: [this.namespace] });
  }

  async stop(): Promise<void> {
    await this.#controller?.stop();
    await this.node.stop();
  }

  get controllerLog(): string {
    return this.#logLines.join('');
  }
}
