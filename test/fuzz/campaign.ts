import { group, plural, version } from '../../src/api/policy.ts';
import { resources, type StoredPolicy } from '../../src/controller/objects.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { Client } from '../../src/kubernetes/client.ts';
import type { Connection } from '../../src/kubernetes/connection.ts';
import { Http } from '../../src/kubernetes/http.ts';
import { keyOf } from '../../src/kubernetes/types.ts';
import { watchAll } from '../bench-controller/cluster.ts';
import type { ControllerProcess } from '../bench-controller/controller-process.ts';
import { eventually } from '../support/eventually.ts';
import { Policies } from '../support/policies.ts';
import { complaints } from './log.ts';
import { type Change, fuzzed, type Source } from './requests.ts';
import { isRestored, verdictOf, wrongObjects } from './verdict.ts';

/** Requests under way at a time. */
const concurrency = 16;
/** After a change everything is settled within this time. */
const patience = { seconds: 60 };
/** A controller that does more than this in two seconds, with nothing changed, turns in circles. */
const calm = { reconciles: 100, everyMs: 2_000 };

export type What = Source | 'new spec' | 'status overwritten';

/** What became of requests of one kind. */
export interface Tally {
  sent: number;
  rejected: number;
  stalled: number;
  ready: number;
}

/** A policy that was accepted, and what it has to become. */
interface Accepted {
  what: What;
  request: unknown;
  changes: readonly Change[];
  key: string;
  uid: string;
  /** The answer's: an older state says nothing. */
  resourceVersion: string;
  /** As it was before somebody overwrote its status. */
  before: StoredPolicy | undefined;
}

interface World {
  /** The administrator's. */
  connection: Connection;
  controller: ControllerProcess;
  namespaces: string[];
  /** The CustomResourceDefinition. */
  definition: unknown;
}

/** Sends fuzzed policies to an API server on which a controller works, round after round, and watches what becomes of them. */
export class Campaign {
  readonly tallies = new Map<What, Tally>();
  readonly reasons = new Map<string, number>();
  readonly failures: string[] = [];
  readonly #world: World;
  readonly #admin: Client;
  readonly #http: Http;
  readonly #seen = new Map<string, StoredPolicy>();
  #sent = 0;
  #exited = false;

  constructor(world: World) {
    this.#world = world;
    this.#admin = new Client(world.connection);
    this.#http = new Http(world.connection);
    void world.controller.exited.then(() => {
      this.#exited = true;
    });
  }

  /** Sends `count` policies of this seed, changes some of those that are accepted, and looks at what exists then. */
  async round(seed: number, count: number): Promise<void> {
    const { namespaces, definition, controller } = this.#world;
    const watch = await watchAll(this.#admin, resources.policies, (policy) =>
      this.#seen.set(keyOf(policy.metadata), policy),
    );
    const accepted: Accepted[] = [];
    const first = this.#sent;
    this.#sent += count;
    await each(fuzzed(definition, { seed, count, first }).entries(), async ([index, { source, body, changes }]) => {
      const path = pathIn(namespaces[index % namespaces.length]!);
      const stored = await this.#send(source, body, () => this.#json({ method: 'POST', path, body }));
      if (stored) accepted.push({ what: source, request: body, changes, ...identityOf(stored), before: undefined });
    });
    await this.#settle(accepted);

    for (const step of [0, 1]) {
      const changed: Accepted[] = [];
      await each(accepted.values(), async (policy) => {
        const change = policy.changes[step];
        const next = change && (await this.#change(policy, change));
        if (next) changed.push(next);
      });
      await this.#settle(changed);
    }

    const policies = () => accepted.flatMap(({ key }) => this.#seen.get(key) ?? []);
    await this.#expectNone('objects', () => wrongObjects(this.#admin, policies()));
    await this.#expectNone('metrics', async () => {
      const shown = await controller.metric('retention_policy_info');
      return shown >= accepted.length ? [] : [`${shown} policies in the metrics, of ${accepted.length}`];
    });
    let reconciles = Number.NEGATIVE_INFINITY;
    const calmed = async () => {
      const before = reconciles;
      reconciles = await controller.metric('retention_controller_reconcile_total');
      return reconciles - before < calm.reconciles ? [] : [`${reconciles - before} reconciliations, nothing changed`];
    };
    await this.#expectNone('calm', calmed, calm.everyMs);
    await watch.stop();
    for (const namespace of namespaces) await this.#json({ method: 'DELETE', path: pathIn(namespace) });
    this.#seen.clear();
  }

  /** Whether the controller still works after all that, and what its log says. */
  async end(): Promise<void> {
    const { namespaces, controller } = this.#world;
    const [namespace] = namespaces as [string];
    const policies = new Policies(this.#admin, namespace);
    await policies.apply('plain');
    await this.#expectNone('a plain policy', async () => {
      const { items } = await this.#admin.list(resources.cronJobs, { namespace });
      const made = items.some(({ metadata }) => metadata.name === 'plain-cleanup');
      const verdict = verdictOf(await policies.get('plain'));
      return made && verdict?.reason === 'Ready' ? [] : [`CronJob: ${made}, ${JSON.stringify(verdict)}`];
    });
    if (this.#exited) this.failures.push('the controller has ended');
    this.failures.push(...complaints(controller.warnings));
  }

  /** Tells what the API server makes of a request; undefined where it is rejected. */
  async #send(what: What, request: unknown, send: () => Promise<StoredPolicy>): Promise<StoredPolicy | undefined> {
    const tally = this.#tallyOf(what);
    tally.sent++;
    try {
      return await send();
    } catch (error) {
      if (error instanceof ApiError && error.status >= 400) tally.rejected++;
      else this.failures.push(`${what}: ${(error as Error).message}: ${show(request)}`);
      return undefined;
    }
  }

  async #change({ key }: Accepted, change: Change): Promise<Accepted | undefined> {
    const before = this.#seen.get(key)!;
    const { namespace = '', name, uid } = before.metadata;
    const path = `${pathIn(namespace)}/${name}`;
    const patch = (at: string, field: string, value: unknown, fieldManager: string) =>
      this.#json({
        method: 'PATCH',
        path: at,
        query: { fieldManager },
        contentType: 'application/json-patch+json',
        body: [{ op: 'add', path: field, value }],
      });
    const what = 'spec' in change ? 'new spec' : 'status overwritten';
    const stored = await this.#send(what, change, () => {
      if ('spec' in change) return patch(path, '/spec', change.spec, 'user');
      if (!change.apply) return patch(`${path}/status`, '/status', change.status, change.manager);
      const configuration = { metadata: { namespace, name, uid }, status: change.status };
      const options = { fieldManager: change.manager, force: true, subresource: 'status' } as const;
      return this.#admin.apply(resources.policies, configuration, options);
    });
    if (!stored) return undefined;
    const request = { ...change, stored: before };
    return { what, request, changes: [], ...identityOf(stored), before: 'spec' in change ? undefined : before };
  }

  /** Waits until each has its verdict, and counts these. */
  async #settle(accepted: Accepted[]): Promise<void> {
    const left = () => accepted.filter((policy) => !this.#isSettled(policy));
    const done = async () => this.#exited || left().length === 0;
    await eventually('a verdict of each policy', done, patience).catch(() => {});
    const unsettled = new Set(left());
    for (const policy of accepted) {
      const stored = this.#seen.get(policy.key);
      if (unsettled.has(policy)) {
        this.failures.push(`${policy.what}: ${policy.key} is ${show(stored?.status)}: ${show(policy.request)}`);
        continue;
      }
      const { reason } = verdictOf(stored!)!;
      const tally = this.#tallyOf(policy.what);
      if (reason === 'Ready') tally.ready++;
      else {
        tally.stalled++;
        this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
      }
    }
  }

  #isSettled({ key, uid, resourceVersion, before }: Accepted): boolean {
    const stored = this.#seen.get(key);
    if (stored?.metadata.uid !== uid || Number(stored.metadata.resourceVersion) < Number(resourceVersion)) return false;
    return verdictOf(stored) !== undefined && (!before || isRestored(before, stored));
  }

  /** Asks until there is nothing to complain about; what is left then is a failure. */
  async #expectNone(what: string, ask: () => Promise<string[]>, everyMs = 250): Promise<void> {
    let found: string[] = [];
    const none = async () => {
      found = await ask().catch((error: Error) => [error.message]);
      return this.#exited || found.length === 0;
    };
    await eventually(what, none, { ...patience, everyMs }).catch(() => {});
    this.failures.push(...found.map((line) => `${what}: ${line}`));
  }

  async #json(request: Parameters<Http['json']>[0]): Promise<StoredPolicy> {
    return (await this.#http.json(request, { timeoutMs: 60_000 })) as StoredPolicy;
  }

  #tallyOf(what: What): Tally {
    const tally = this.tallies.get(what) ?? { sent: 0, rejected: 0, stalled: 0, ready: 0 };
    this.tallies.set(what, tally);
    return tally;
  }
}

async function each<T>(items: IteratorObject<T>, work: (item: T) => Promise<void>): Promise<void> {
  const worker = async () => {
    for (const item of items) await work(item);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

const pathIn = (namespace: string) => `/apis/${group}/${version}/namespaces/${namespace}/${plural}`;

function identityOf({ metadata }: StoredPolicy): Pick<Accepted, 'key' | 'uid' | 'resourceVersion'> {
  return { key: keyOf(metadata), uid: metadata.uid!, resourceVersion: metadata.resourceVersion! };
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 4_000 ? `${text.slice(0, 4_000)}…` : text;
}
