import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ClientOptions } from './client.ts';
import type { QueueObserver } from './work-queue.ts';

const prefix = 'retention_controller';
/** Seconds: from one request to a lost connection. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What a controller of this folder's tells about itself, by Prometheus' conventions; docs/metrics.md lists it. */
export class RuntimeMetrics implements QueueObserver {
  readonly registry = new Registry();
  readonly #reconciles: Counter<'result'>;
  readonly #durations: Histogram;
  readonly #waits: Histogram;
  readonly #writes: Counter<'verb' | 'kind' | 'code'>;
  readonly #restarts: Counter<'kind'>;

  /** `state` is asked at each scrape. */
  constructor(state: {
    depth(): number;
    failing(): number;
    leading(): boolean;
    watches(): { kind: string; namespace?: string; failures: number; omitted: number }[];
    /** The namespaces that cannot be worked in. */
    unavailable(): Map<string | undefined, unknown>;
  }) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.#reconciles = new Counter({
      name: `${prefix}_reconcile_total`,
      help: 'Reconciliations of a policy, by how they ended.',
      labelNames: ['result'],
      registers,
    });
    // Zero from the start: a rate needs a first value.
    for (const result of ['success', 'error']) this.#reconciles.inc({ result }, 0);
    this.#durations = new Histogram({
      name: `${prefix}_reconcile_duration_seconds`,
      help: 'How long a reconciliation took.',
      buckets,
      registers,
    });
    this.#waits = new Histogram({
      name: `${prefix}_queue_wait_seconds`,
      help: 'How long a policy was ready before it was reconciled.',
      buckets,
      registers,
    });
    this.#writes = new Counter({
      name: `${prefix}_api_writes_total`,
      help: 'Writes to the API server but for the Lease: 200 for all that succeed, else the HTTP status, 0 without an answer.',
      labelNames: ['verb', 'kind', 'code'],
      registers,
    });
    this.#restarts = new Counter({
      name: `${prefix}_watch_restarts_total`,
      help: 'Lists and watches that failed and were begun again.',
      labelNames: ['kind'],
      registers,
    });
    new Gauge({
      name: `${prefix}_watch_failures`,
      help: 'Failures in a row of the list and watch of a kind, 0 where it is well.',
      labelNames: ['kind'],
      registers,
      collect() {
        const worst = new Map<string, number>();
        for (const { kind, failures } of state.watches()) worst.set(kind, Math.max(failures, worst.get(kind) ?? 0));
        for (const [kind, failures] of worst) this.set({ kind }, failures);
      },
    });
    new Gauge({
      name: `${prefix}_oversized_objects`,
      help: 'Objects of a kind of which a part is too large or nested too deep to be read.',
      labelNames: ['kind'],
      registers,
      collect() {
        const sum = new Map<string, number>();
        for (const { kind, omitted } of state.watches()) sum.set(kind, omitted + (sum.get(kind) ?? 0));
        for (const [kind, omitted] of sum) this.set({ kind }, omitted);
      },
    });
    new Gauge({
      name: `${prefix}_namespace_available`,
      help: '1 if the policies of this namespace of controller.namespaces can be read and worked on.',
      labelNames: ['namespace'],
      registers,
      collect() {
        const unavailable = state.unavailable();
        for (const { namespace } of state.watches()) {
          if (namespace !== undefined) this.set({ namespace }, unavailable.has(namespace) ? 0 : 1);
        }
      },
    });
    new Gauge({
      name: `${prefix}_queue_depth`,
      help: 'Policies that wait to be reconciled.',
      registers,
      collect() {
        this.set(state.depth());
      },
    });
    new Gauge({
      name: `${prefix}_failing_policies`,
      help: 'Policies whose newest reconciliation failed, and is tried again.',
      registers,
      collect() {
        this.set(state.failing());
      },
    });
    new Gauge({
      name: `${prefix}_leader`,
      help: '1 in the replica that leads.',
      registers,
      collect() {
        this.set(state.leading() ? 1 : 0);
      },
    });
  }

  processed({ ok, waitedMs, tookMs }: Parameters<QueueObserver['processed']>[0]): void {
    this.#reconciles.inc({ result: ok ? 'success' : 'error' });
    this.#durations.observe(tookMs / 1000);
    this.#waits.observe(waitedMs / 1000);
  }

  readonly wrote: NonNullable<ClientOptions['onWrite']> = (verb, kind, status) => {
    this.#writes.inc({ verb, kind, code: String(status) });
  };

  readonly restarted = (kind: string): void => {
    this.#restarts.inc({ kind });
  };
}
