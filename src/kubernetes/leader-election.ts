import { ApiError, isNotFound } from './api-error.ts';
import { sleep } from './backoff.ts';
import type { Client } from './client.ts';
import type { Logger } from './logger.ts';
import type { KubernetesObject, ObjectRef, Resource } from './types.ts';

/** client-go's defaults, and those of Kubernetes' own controllers. */
const defaultTimes: LeaseTimes = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2_000 };
/** Candidates spread their tries by so much, as client-go's JitterFactor does. */
const jitterFactor = 1.2;

export interface LeaseTimes {
  /** How long the others wait, after they last saw the Lease change, before they take it. Whole seconds. */
  leaseDurationMs: number;
  /** How long the leader tries to renew before it gives up; shorter, so that there are never two. */
  renewDeadlineMs: number;
  /** Between two tries. */
  retryPeriodMs: number;
}

/** coordination.k8s.io/v1 Lease; its times have microseconds. */
export interface Lease extends KubernetesObject {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

export const leases: Resource<Lease> = {
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  plural: 'leases',
  namespaced: true,
};

export interface LeaderElectorOptions {
  client: Client;
  lease: ObjectRef;
  /** Tells the candidates apart; another one with each start. */
  identity: string;
  log: Logger;
  times?: LeaseTimes;
  /** Milliseconds that only ever grow, whatever the machine's clock does. */
  monotonicNow?: () => number;
}

/**
 * Elects one of several candidates by a Lease, with client-go's semantics: the others take it only when they have seen it
 * unchanged for its duration by their own clock, so that clocks need not agree. Needs get, create and patch on leases.
 */
export class LeaderElector {
  readonly #options: LeaderElectorOptions;
  readonly #times: LeaseTimes;
  readonly #now: () => number;
  /** The Lease as last seen, and when it was first seen so. */
  #observed: { lease: Lease; at: number } | undefined;

  constructor(options: LeaderElectorOptions) {
    this.#options = options;
    this.#times = options.times ?? defaultTimes;
    this.#now = options.monotonicNow ?? (() => performance.now());
  }

  /** Who holds the Lease, as far as this candidate knows. */
  get holder(): string | undefined {
    return this.#observed?.lease.spec?.holderIdentity || undefined;
  }

  /** Resolves with true once this candidate holds the Lease, with false when `signal` aborts before. Never rejects. */
  async acquire(signal: AbortSignal): Promise<boolean> {
    const { retryPeriodMs } = this.#times;
    while (!signal.aborted) {
      const before = this.holder;
      if (await this.#tryAcquireOrRenew(signal)) return true;
      if (this.holder !== before) this.#options.log.info({ leader: this.holder }, 'another one leads');
      await sleep(retryPeriodMs * (1 + jitterFactor * Math.random()), signal);
    }
    return false;
  }

  /** Keeps the Lease until `signal` aborts; resolves with true then, and with false once it is lost. Never rejects. */
  async hold(signal: AbortSignal): Promise<boolean> {
    const { renewDeadlineMs, retryPeriodMs } = this.#times;
    let renewed = this.#now();
    while (!signal.aborted) {
      await sleep(retryPeriodMs, signal);
      if (signal.aborted) break;
      const started = this.#now();
      const left = Math.ceil(Math.max(0, renewed + renewDeadlineMs - started));
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(left)]);
      if (await this.#tryAcquireOrRenew(inTime)) renewed = started;
      else if (this.holder !== this.#options.identity || this.#now() - renewed >= renewDeadlineMs)
        return signal.aborted;
    }
    return true;
  }

  /** Gives the Lease back, so that the next one need not wait for its end. Call it when all work is done. Never rejects. */
  async release(): Promise<void> {
    if (this.holder !== this.#options.identity) return;
    const now = microTime();
    const spec = { holderIdentity: '', leaseDurationSeconds: 1, renewTime: now, acquireTime: now };
    const { client, lease, identity, log } = this.#options;
    const signal = AbortSignal.timeout(this.#times.renewDeadlineMs / 2);
    try {
      // A renewal that was given up on the way may have come to the server all the same.
      this.#observe(await client.get(leases, lease, { signal }));
      if (this.holder === identity) await this.#update(spec, signal);
    } catch (error) {
      log.warn({ err: error }, 'the Lease could not be released');
    }
  }

  async #tryAcquireOrRenew(signal: AbortSignal): Promise<boolean> {
    try {
      return await this.#acquireOrRenew(signal);
    } catch (error) {
      // Another candidate was quicker.
      const lostRace = error instanceof ApiError && error.status === 409;
      if (!lostRace && !signal.aborted) this.#options.log.warn({ err: error }, 'the Lease cannot be had or renewed');
      return false;
    }
  }

  async #acquireOrRenew(signal: AbortSignal): Promise<boolean> {
    const { client, lease, identity } = this.#options;
    const now = microTime();
    const spec = { holderIdentity: identity, leaseDurationSeconds: this.#times.leaseDurationMs / 1000, renewTime: now };
    if (this.holder === identity) {
      // As a rule nobody else has touched it: one request instead of two.
      const renewed = await this.#update(spec, signal).catch(() => undefined);
      if (renewed) return true;
    }
    const options = { timeoutMs: this.#times.renewDeadlineMs / 2, signal };
    const current = await client.get(leases, lease, options).catch((error) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    if (!current) {
      const first = { metadata: lease, spec: { ...spec, acquireTime: now, leaseTransitions: 0 } };
      this.#observe(await client.create(leases, first, options));
      return true;
    }
    this.#observe(current);
    const { holderIdentity, leaseDurationSeconds = 0, leaseTransitions = 0 } = current.spec ?? {};
    if (holderIdentity === identity) {
      await this.#update(spec, signal);
      return true;
    }
    if (holderIdentity && this.#observed!.at + leaseDurationSeconds * 1000 > this.#now()) return false;
    await this.#update({ ...spec, acquireTime: now, leaseTransitions: leaseTransitions + 1 }, signal);
    return true;
  }

  /** Changes the Lease if it is still as it was seen last; else 409. */
  async #update(spec: Lease['spec'], signal: AbortSignal): Promise<Lease> {
    const { client, lease } = this.#options;
    const { resourceVersion } = this.#observed!.lease.metadata;
    const updated = await client.mergePatch(
      leases,
      lease,
      { metadata: { resourceVersion }, spec },
      { fieldManager: 'leader-election', timeoutMs: this.#times.renewDeadlineMs / 2, signal },
    );
    this.#observe(updated);
    return updated;
  }

  #observe(lease: Lease): void {
    if (this.#observed?.lease.metadata.resourceVersion === lease.metadata.resourceVersion) return;
    this.#observed = { lease, at: this.#now() };
  }
}

/** metav1.MicroTime of now. */
function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z');
}
