import { afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { runFieldManager } from '../../src/api/policy.ts';
import { nothingAllowed } from '../../src/controller/allowed.ts';
import { resources } from '../../src/controller/objects.ts';
import { adminClient, controllerConnection, installOperator, startController } from '../support/controller.ts';
import { runOf } from '../support/controller-objects.ts';
import { eventually, soon } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { type CountingProxy, startCountingProxy } from '../support/kubernetes/counting-proxy.ts';
import { Policies } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
let proxy: CountingProxy;
let policies: Policies;
let controller: Awaited<ReturnType<typeof startController>> | undefined;

beforeAll(() => installOperator(cluster));
beforeEach(async () => {
  proxy = await startCountingProxy(await controllerConnection(cluster));
  policies = new Policies(client, await cluster.createNamespace());
});
afterEach(async () => {
  await controller?.stop();
  await proxy?.close();
});

const start = async () => {
  controller = await startController(cluster, {
    connection: proxy.connection,
    namespaces: [policies.namespace],
    relistMs: 300,
    allowed: { ...nothingAllowed, labels: ['team'] },
  });
};

/** Waits for several resyncs, and gives what was written meanwhile. */
async function writesOverResyncs(): Promise<string[]> {
  const [lists, writes] = [proxy.lists(), proxy.writes().length];
  await eventually('five resyncs', async () => proxy.lists() >= lists + 5);
  return proxy.writes().slice(writes);
}

/** Policies in every state that lasts: fine, with results, suspended, overlapping, in conflict, with quantities of every form. */
async function applyAll(): Promise<void> {
  const { namespace } = policies;
  const runner = {
    labels: { team: 'em' },
    tolerations: [],
    imagePullSecrets: [],
    affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
    resources: { limits: { cpu: '1000m', memory: '0.5Gi' }, requests: { cpu: 0, memory: '1e3' } },
    securityContext: { runAsUser: 0, runAsNonRoot: false, supplementalGroups: [] },
  };
  // Rarely due: each time that passes changes status.nextRun.
  await policies.apply('fine', { schedule: '*/30 3 1 1 *', statistics: { schedule: '@yearly' }, runner });
  await policies.apply('suspended', { database: { secretRef: { name: 'a' } }, suspend: true });
  await policies.apply('overlapping');
  const turned = { database: { secretRef: { name: 'd' } } };
  await policies.apply('turned-bad', turned);
  await policies.settled('turned-bad', 'Ready', 'True');
  await policies.apply('turned-bad', { ...turned, timeZone: 'Europe/Atlantis' });
  await policies.apply('badly-scheduled', { database: { secretRef: { name: 'b' } }, schedule: '5-3 * * * *' });
  await client.apply(
    resources.serviceAccounts,
    { metadata: { namespace, name: 'retention-conflict' } },
    { fieldManager: 'somebody' },
  );
  await policies.apply('conflict', { database: { secretRef: { name: 'c' } } });
  await policies.settled('fine', 'Ready', 'True');
  await client.apply(
    resources.policies,
    { metadata: { namespace, name: 'fine' }, status: { jobs: [{ name: 'cleanup', lastRun: runOf('cleanup') }] } },
    { fieldManager: runFieldManager('cleanup'), subresource: 'status' },
  );
  await policies.statusOf('fine', 'its run', ({ lastRun }) => lastRun);
  await policies.settled('suspended', 'Ready', 'True');
  for (const name of ['overlapping', 'turned-bad', 'badly-scheduled', 'conflict'])
    await policies.settled(name, 'Stalled', 'True');
}

it('policies that are settled get no write at all over several resyncs, nor when the controller starts again', async () => {
  await start();
  await applyAll();
  await eventually('the last Events to be written', async () => (await writesOverResyncs()).length === 0);
  expect(await writesOverResyncs()).toEqual([]);

  await controller!.stop();
  const before = proxy.writes().length;
  await start();
  // A controller that starts has to ask once why a schedule is refused: that changes nothing.
  const refused = ({ 0: method, 1: path }: string[]) => `${method} ${path!.replace(/^.*\/|\?.*$/g, '')}`;
  const asked = ['PATCH badly-scheduled-cleanup', 'PATCH turned-bad-cleanup'];
  const written = () => proxy.writes().slice(before);
  await vi.waitFor(
    () =>
      expect(
        written()
          .map((write) => refused(write.split(' ')))
          .sort(),
      ).toEqual(asked),
    soon,
  );
  expect(await writesOverResyncs()).toEqual([]);
});
