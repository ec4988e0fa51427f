import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { nothingAllowed } from '../../src/controller/allowed.ts';
import type { ControllerOptions } from '../../src/controller/controller.ts';
import { resources } from '../../src/controller/objects.ts';
import { unlessNotFound } from '../../src/kubernetes/api-error.ts';
import { adminClient, controllerConnection, installOperator, startController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { startCountingProxy } from '../support/kubernetes/counting-proxy.ts';
import { recordingLog } from '../support/log.ts';
import { conditionOf, Policies } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
let policies: Policies;
let ending: (() => Promise<void>)[] = [];

beforeAll(() => installOperator(cluster));
beforeEach(async () => {
  policies = new Policies(client, await cluster.createNamespace());
});
afterEach(async () => {
  for (const end of ending.reverse()) await end();
  ending = [];
});

/** A controller with its writes, and its warnings. */
async function start(options: Partial<ControllerOptions> = {}) {
  const proxy = await startCountingProxy(await controllerConnection(cluster));
  const { connection } = proxy;
  const { log, lines } = recordingLog();
  const controller = await startController(cluster, {
    connection,
    namespaces: [policies.namespace],
    relistMs: 500,
    log,
    ...options,
  });
  ending.push(async () => {
    await controller.stop();
    await proxy.close();
  });
  const warnings = () => lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
  return {
    ...controller,
    warnings,
    writes: (what: string) => proxy.writes().filter((write) => write.includes(what)).length,
  };
}

/** Does this again and again, until the test ends. */
function loop(work: () => Promise<unknown>): void {
  const stop = new AbortController();
  const running = (async () => {
    while (!stop.signal.aborted) {
      await work();
      await sleep(20);
    }
  })();
  ending.push(() => {
    stop.abort();
    return running;
  });
}

const cronJob = () => client.get(resources.cronJobs, { namespace: policies.namespace, name: 'smartem-cleanup' });
const reverted = async () => {
  const status = await policies.statusOf('smartem', 'Ready to be Reverted', ({ conditions }) =>
    conditions?.some(({ type, reason }) => type === 'Ready' && reason === 'Reverted'),
  );
  return conditionOf(status, 'Ready')!.message;
};
/** For ten seconds from `since` on. */
const tenSeconds = (since: number) =>
  eventually('ten seconds to pass', async () => Date.now() > since + 10_000, { seconds: 60 });

it('two controllers of different images on one namespace write less and less, and say so', async () => {
  const since = Date.now();
  const one = await start();
  await policies.apply('smartem');
  await policies.settled('smartem', 'Ready', 'True');
  const ahead = { ms: 0 };
  const other = await start({
    image: 'registry.invalid/retention-operator:other',
    now: () => new Date(Date.now() + ahead.ms),
  });
  expect(await reverted()).toMatch(
    /^CronJob smartem-cleanup \(.*containers\[runner\]\.image.* by another retention controller/,
  );
  await tenSeconds(since);
  expect((await cronJob()).metadata.generation).toBeLessThan(20);
  for (const { writes } of [one, other]) expect(writes('/status')).toBeLessThan(30);
  expect((await client.list(resources.events, { namespace: policies.namespace })).items.length).toBeLessThan(10);

  await one.stop();
  ahead.ms = 600_000;
  await policies.settled('smartem', 'Ready', 'True');
  expect((await cronJob()).spec!.jobTemplate.spec!.template.spec!.containers[0]!.image).toContain(':other');
});

it('two controllers of which one refuses what the policy asks for do not write the status at every turn', async () => {
  const since = Date.now();
  const one = await start({ allowed: { ...nothingAllowed, priorityClasses: ['important'] } });
  await policies.apply('smartem', { runner: { priorityClassName: 'important' } });
  await policies.settled('smartem', 'Ready', 'True');
  const other = await start();
  await policies.settled('smartem', 'Ready', 'False');
  await tenSeconds(since);
  for (const { writes } of [one, other]) expect(writes('/status') + writes('/cronjobs/')).toBeLessThan(40);
});

it('another manager that suspends the CronJob each time it is resumed is named, and the writes become fewer', async () => {
  const controller = await start();
  await policies.apply('smartem');
  await policies.settled('smartem', 'Ready', 'True');
  const since = Date.now();
  loop(async () => {
    const { metadata, spec } = await cronJob();
    if (spec!.suspend) return;
    await client.mergePatch(resources.cronJobs, metadata, { spec: { suspend: true } }, { fieldManager: 'flux' });
  });
  expect(await reverted()).toMatch(
    /^CronJob smartem-cleanup \(spec\.suspend\) is changed back .* by field manager flux/,
  );
  await tenSeconds(since);
  expect(controller.writes('/cronjobs/')).toBeLessThan(10);
  expect(controller.warnings()).toEqual([expect.stringContaining('field manager flux')]);
});

it('what is deleted each time it is created is not created again and again at once', async () => {
  const controller = await start();
  const account = { namespace: policies.namespace, name: 'retention-smartem' };
  const since = Date.now();
  loop(() => client.delete(resources.serviceAccounts as never, account).catch(unlessNotFound));
  await policies.apply('smartem');
  expect(await reverted()).toMatch(/^ServiceAccount retention-smartem is deleted each time it is created/);
  await tenSeconds(since);
  expect(controller.writes('/serviceaccounts/')).toBeLessThan(10);
});

it('what is undone once or twice is repaired at once, without a word', async () => {
  await start();
  await policies.apply('smartem');
  await policies.settled('smartem', 'Ready', 'True');
  for (const suspend of [true, true]) {
    const { metadata } = await cronJob();
    await client.mergePatch(resources.cronJobs, metadata, { spec: { suspend } }, { fieldManager: 'somebody' });
    await eventually('it to be resumed', async () => (await cronJob()).spec!.suspend === false);
  }
  expect(conditionOf(await policies.settled('smartem', 'Ready', 'True'), 'Ready')!.reason).toBe('Scheduled');
});
