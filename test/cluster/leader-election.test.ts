import { randomUUID } from 'node:crypto';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { Client } from '../../src/kubernetes/client.ts';
import type { Connection } from '../../src/kubernetes/connection.ts';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import { LeaderElector, leases } from '../../src/kubernetes/leader-election.ts';
import { adminClient } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { silent } from '../support/log.ts';

const cluster = useCluster();
// So long that a busy machine does not keep a leader from renewing.
const times = { leaseDurationMs: 8_000, renewDeadlineMs: 5_000, retryPeriodMs: 100 };
const leaseName = 'election';
let client: Client;
beforeAll(() => {
  client = adminClient(cluster);
});

/** A candidate for the Lease of a namespace, that acquires and holds it until `vanish`, as a killed process does. */
function candidate(namespace: string, identity: string, through = client) {
  const lease = { namespace, name: leaseName };
  const elector = new LeaderElector({ client: through, lease, identity, log: silent, times });
  const gone = new AbortController();
  const acquired = elector.acquire(gone.signal);
  const held = acquired.then((elected) => (elected ? elector.hold(gone.signal) : true));
  onTestFinished(async () => {
    gone.abort();
    await held;
  });
  return { elector, acquired, held, vanish: () => gone.abort() };
}

const stored = (namespace: string) => client.get(leases, { namespace, name: leaseName });
const setSpec = (namespace: string, spec: object) =>
  client.mergePatch(leases, { namespace, name: leaseName }, { spec }, { fieldManager: 'test' });

it('elects one of several, and keeps it', async () => {
  const namespace = await cluster.createNamespace();
  const candidates = ['a', 'b', 'c'].map((name) => candidate(namespace, name));
  const leader = await Promise.race(candidates.map(({ acquired, elector }) => acquired.then(() => elector)));
  await eventually('ten renewals', async () => {
    const { spec, metadata } = await stored(namespace);
    expect(spec!.holderIdentity).toBe(leader.holder);
    return (metadata.managedFields ?? []).length > 0 && spec!.renewTime! > spec!.acquireTime!;
  });
  expect(candidates.filter(({ elector }) => elector === leader)).toHaveLength(1);
  expect((await stored(namespace)).spec).toMatchObject({ leaseDurationSeconds: 8, leaseTransitions: 0 });
});

it('a Lease that was given back is taken at once', async () => {
  const namespace = await cluster.createNamespace();
  const first = candidate(namespace, 'first');
  await first.acquired;
  const second = candidate(namespace, 'second');
  first.vanish();
  await first.held;
  await first.elector.release();
  const released = performance.now();
  expect(await second.acquired).toBe(true);
  expect(performance.now() - released).toBeLessThan(times.leaseDurationMs);
  expect((await stored(namespace)).spec).toMatchObject({ holderIdentity: 'second', leaseTransitions: 1 });
});

it('the Lease of a leader that has vanished is taken when it has been seen unchanged for its duration', async () => {
  const namespace = await cluster.createNamespace();
  const first = candidate(namespace, 'first');
  await first.acquired;
  const second = candidate(namespace, 'second');
  await eventually('the second to see the first', async () => second.elector.holder === 'first');
  first.vanish();
  await first.held;
  const vanished = performance.now();
  expect(await second.acquired).toBe(true);
  expect(performance.now() - vanished).toBeGreaterThan(times.leaseDurationMs - 2 * times.retryPeriodMs);
});

it.each([
  ['a day slow', '2001-01-01T00:00:00.000000Z'],
  ['a day fast', '2099-01-01T00:00:00.000000Z'],
])('the clock of the leader does not count: %s', async (_what, time) => {
  const namespace = await cluster.createNamespace();
  const first = candidate(namespace, 'first');
  await first.acquired;
  first.vanish();
  await first.held;
  await setSpec(namespace, { acquireTime: time, renewTime: time });
  const started = performance.now();
  expect(await candidate(namespace, 'second').acquired).toBe(true);
  const waited = performance.now() - started;
  expect(waited).toBeGreaterThanOrEqual(times.leaseDurationMs);
  expect(waited).toBeLessThan(5 * times.leaseDurationMs);
});

it('a leader whose Lease another one has taken stops at once', async () => {
  const namespace = await cluster.createNamespace();
  const first = candidate(namespace, 'first');
  await first.acquired;
  await setSpec(namespace, { holderIdentity: 'thief' });
  expect(await first.held).toBe(false);
});

it('a leader that cannot reach the API server gives up before the others may take the Lease', async () => {
  const namespace = await cluster.createNamespace();
  const admin = connectionFromKubeconfig(cluster.kubeconfigPath);
  let reachable = true;
  const shaky: Connection = {
    server: admin.server,
    options: () => (reachable ? admin.options() : Promise.reject(new Error('no network'))),
  };
  const first = candidate(namespace, 'first', new Client(shaky));
  await first.acquired;
  reachable = false;
  const cut = performance.now();
  expect(await first.held).toBe(false);
  expect(performance.now() - cut).toBeLessThan(times.leaseDurationMs);
  expect((await stored(namespace)).spec).toMatchObject({ holderIdentity: 'first' });
});

it('a Lease that was deleted is made anew', async () => {
  const namespace = await cluster.createNamespace();
  const first = candidate(namespace, `first ${randomUUID()}`);
  await first.acquired;
  await client.delete(leases, { namespace, name: leaseName });
  await eventually('a new Lease', async () => {
    const lease = await stored(namespace).catch(() => undefined);
    return lease?.spec?.holderIdentity === first.elector.holder;
  });
});
