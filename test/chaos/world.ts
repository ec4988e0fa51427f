import { runRequestedAtAnnotation } from '../../src/api/policy.ts';
import { resources } from '../../src/controller/objects.ts';
import { isNotFound } from '../../src/kubernetes/api-error.ts';
import { keyOf, refOf } from '../../src/kubernetes/types.ts';
import { applyPolicies, type BenchCluster } from '../bench-controller/cluster.ts';
import { type ControllerProcess, startControllerProcess } from '../bench-controller/controller-process.ts';
import { installCrd } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';
import type { FaultyProxy } from './faulty-proxy.ts';

const changesAtOnce = 20;

/** The cluster that things happen to, its users, and its controllers, which reach the API server through a proxy. */
export class World {
  readonly proxy: FaultyProxy;
  /** Runs that were asked for: policy → value. */
  readonly requested = new Map<string, string>();
  readonly #cluster: BenchCluster;
  readonly #count: number;
  #controllers: ControllerProcess[] = [];
  #keys: string[] = [];
  #changes = 0;
  /** What controllers that have gone had logged. */
  readonly #pastWarnings: string[] = [];

  constructor(cluster: BenchCluster, proxy: FaultyProxy, count: number) {
    this.#cluster = cluster;
    this.proxy = proxy;
    this.#count = count;
  }

  get plane(): BenchCluster['plane'] {
    return this.#cluster.plane;
  }

  get warnings(): string[] {
    return [...this.#pastWarnings, ...this.#controllers.flatMap(({ warnings }) => warnings)];
  }

  async applyAll(): Promise<void> {
    const policies = await applyPolicies(this.#cluster.admin, 0, this.#count);
    this.#keys = policies.map(({ metadata }) => keyOf(metadata)).sort();
  }

  /** What users do: other schedules, CronJobs deleted and edited by hand, runs asked for. */
  readonly change = async (): Promise<void> => {
    const { admin } = this.#cluster;
    const by = { fieldManager: 'somebody' };
    for (let i = 0; i < changesAtOnce; i++) {
      const number = this.#changes++;
      const key = this.#keys[(number * 7) % this.#keys.length]!;
      const ref = refOf(key);
      const cronJob = { ...ref, name: `${ref.name}-cleanup` };
      const unlessGone = (error: unknown) => {
        if (!isNotFound(error)) throw error;
      };
      if (number % 4 === 0) {
        await admin.mergePatch(resources.policies, ref, { spec: { schedule: `${number % 60} 4 1 1 *` } }, by);
      } else if (number % 4 === 1) {
        await admin.delete(resources.cronJobs, cronJob).catch(unlessGone);
      } else if (number % 4 === 2) {
        const patch = { spec: { schedule: '0 0 1 1 *', suspend: true } };
        await admin.mergePatch(resources.cronJobs, cronJob, patch, by).catch(unlessGone);
      } else if (!this.requested.has(key)) {
        const value = new Date().toISOString();
        const annotations = { [runRequestedAtAnnotation]: value };
        await admin.mergePatch(resources.policies, ref, { metadata: { annotations } }, by);
        this.requested.set(key, value);
      }
    }
  };

  /** Controllers that ended by themselves, and were started anew. */
  restarts = 0;

  /** `alone` does without a Lease: one that was killed holds it for 15 s. */
  readonly startController = async (nodeFlags: string[] = [], { alone = false } = {}): Promise<ControllerProcess> => {
    const env: Record<string, string> = alone ? {} : { RETENTION_LEASE_NAMESPACE: 'retention-system' };
    const controller = await startControllerProcess(this.#cluster, { server: this.proxy.url, nodeFlags, env });
    this.#controllers.push(controller);
    // As the kubelet does with one that has lost its Lease.
    void controller.exited.then(() => {
      if (!this.#controllers.includes(controller)) return undefined;
      this.#forget(controller);
      this.restarts += 1;
      return this.startController(nodeFlags, { alone });
    });
    return controller;
  };

  readonly kill = async (controller: ControllerProcess): Promise<void> => {
    this.#forget(controller);
    await controller.kill();
  };

  readonly stopControllers = async (): Promise<void> => {
    for (const controller of this.#controllers) {
      this.#forget(controller);
      await controller.stop();
    }
  };

  #forget(controller: ControllerProcess): void {
    this.#pastWarnings.push(...controller.warnings);
    this.#controllers = this.#controllers.filter((other) => other !== controller);
  }

  async leads(controller: ControllerProcess): Promise<void> {
    await eventually(
      'the next one to lead',
      async () => (await controller.metric('retention_controller_leader')) === 1,
      { seconds: 60 },
    );
  }

  async removeCrd(): Promise<void> {
    const args = ['delete', 'crd', 'retentionpolicies.retention.agentdata.io', '--timeout=120s'];
    await strictly(this.plane.kubectl)(args);
  }

  async putCrdBack(): Promise<void> {
    await installCrd(this.plane);
    this.requested.clear();
    await this.applyAll();
  }
}
