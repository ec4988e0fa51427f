import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Client } from '../kubernetes/client.ts';
import { LeaderElector, type LeaseTimes } from '../kubernetes/leader-election.ts';
import type { Logger } from '../kubernetes/logger.ts';

const leaseName = 'retention-controller';

export interface LeadershipOptions {
  client: Client;
  /** Of the Lease; without it this controller works alone, and leads from the start. */
  namespace: string | undefined;
  times?: LeaseTimes;
  log: Logger;
}

/** Whether this controller is the one of several that works. */
export class Leadership {
  leading = false;
  /** Aborts when the Lease was lost: from then on another controller may work, and this one must not. */
  readonly lost: AbortSignal;
  readonly #lost = new AbortController();
  readonly #finished = new AbortController();
  readonly #elector: LeaderElector | undefined;
  readonly #log: Logger;
  #holding: Promise<void> | undefined;

  constructor({ client, namespace, times, log }: LeadershipOptions) {
    this.lost = this.#lost.signal;
    this.#log = log;
    if (namespace === undefined) return;
    const identity = `${hostname()}_${randomUUID()}`;
    this.#elector = new LeaderElector({ client, lease: { namespace, name: leaseName }, identity, log, times });
  }

  /** Resolves with true once this controller leads, with false when `signal` aborts before. */
  async acquire(signal: AbortSignal): Promise<boolean> {
    if (this.#elector && !(await this.#elector.acquire(signal))) return false;
    this.leading = true;
    if (this.#elector) {
      this.#log.info({}, 'this controller leads');
      this.#holding = this.#hold(this.#elector);
    }
    return true;
  }

  /** Gives the Lease back when all work is done. */
  async release(): Promise<void> {
    this.#finished.abort();
    await this.#holding;
    if (this.leading) await this.#elector?.release();
    this.leading = false;
  }

  async #hold(elector: LeaderElector): Promise<void> {
    if (await elector.hold(this.#finished.signal)) return;
    this.leading = false;
    this.#log.error({ leader: elector.holder }, 'the Lease is lost');
    this.#lost.abort();
  }
}
