import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { resources } from '../../src/controller/objects.ts';
import { keyOf } from '../../src/kubernetes/types.ts';
import { markdownTable, megabytes, short } from '../bench/markdown.ts';
import { say } from '../bench/progress.ts';
import { eventually } from '../support/eventually.ts';
import { applyPolicies, type BenchCluster, startBenchCluster, watchAll } from './cluster.ts';
import { type ControllerProcess, startControllerProcess } from './controller-process.ts';
import { plainLoop } from './plain-loop.ts';

const concurrency = 8;
const single = 100;

type Row = [figure: string, goal: string, measured: string];

/** On a control plane of its own: the plain loop. */
async function measureLoop(count: number): Promise<number> {
  return withCluster(async ({ admin, connection }) => {
    const policies = await applyPolicies(admin, 0, count);
    say(`${count} policies are there, the plain loop begins`);
    const seconds = await plainLoop(connection, policies, concurrency);
    say(`plain loop: ${short(seconds)} s`);
    return seconds;
  });
}

async function withCluster<T>(work: (cluster: BenchCluster) => Promise<T>): Promise<T> {
  const cluster = await startBenchCluster();
  try {
    return await work(cluster);
  } finally {
    await cluster.plane.stop();
  }
}

/** On another one: the controller, from nothing; single policies beside all the others; a restart; and quiet. */
async function measureController(count: number, steadyMinutes: number) {
  return withCluster(async (cluster) => {
    const { admin } = cluster;
    await applyPolicies(admin, 0, count);
    let controller = await startControllerProcess(cluster);
    const ready = new Set<string>();
    const policies = await watchAll(admin, resources.policies, (policy) => {
      const conditions = (policy.status as { conditions?: { type: string; status: string }[] } | undefined)?.conditions;
      if (conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'))
        ready.add(keyOf(policy.metadata));
    });
    await eventually('all policies to be Ready', async () => ready.size === count, { seconds: 1_800, everyMs: 20 });
    const allSeconds = (performance.now() - controller.startedAt) / 1000;
    await policies.stop();
    const { items } = await admin.list(resources.cronJobs);
    if (items.length !== count) throw new Error(`${items.length} CronJobs for ${count} policies`);
    say(`all ${count} Ready after ${short(allSeconds)} s`);

    const latencies = await singleLatencies(cluster, count);
    const peakBytes = await controller.stop();

    controller = await startControllerProcess(cluster);
    const all = count + single;
    await eventually(
      'all to be reconciled',
      async () => (await controller.metric('retention_controller_reconcile_total')) >= all,
      // Each look makes the metrics of all policies, which takes its time from what is measured.
      { seconds: 120, everyMs: 500 },
    );
    const restartSeconds = (performance.now() - controller.startedAt) / 1000;
    const restartWrites = await controller.metric('retention_controller_api_writes_total');
    say(`restart: ${short(restartSeconds)} s, ${restartWrites} writes; now ${steadyMinutes} minutes of quiet`);
    await sleep(steadyMinutes * 60_000);
    const steadyWrites = (await controller.metric('retention_controller_api_writes_total')) - restartWrites;
    const reconciles = await controller.metric('retention_controller_reconcile_total');
    const scrape = await measureScrape(controller);
    const restartPeakBytes = await controller.stop();
    return {
      allSeconds,
      latencies,
      peakBytes,
      restartSeconds,
      restartWrites,
      steadyWrites,
      reconciles,
      scrape,
      restartPeakBytes,
    };
  });
}

/** What one look of Prometheus costs: its time, its text, and the longest that the event loop was kept meanwhile. */
async function measureScrape({ scrape, metric }: ControllerProcess) {
  await scrape();
  const started = performance.now();
  const text = await scrape();
  const ms = performance.now() - started;
  // Counted since the look before.
  const pauseMs = (await metric('nodejs_eventloop_lag_max_seconds')) * 1000;
  return { ms, bytes: Buffer.byteLength(text), pauseMs };
}

/** Milliseconds from the answer to an apply until the CronJob is seen, one policy after the other, sorted. */
async function singleLatencies({ admin }: BenchCluster, from: number): Promise<number[]> {
  const seen = new Map<string, number>();
  const cronJobs = await watchAll(admin, resources.cronJobs, ({ metadata }) => {
    if (!seen.has(metadata.name)) seen.set(metadata.name, performance.now());
  });
  const latencies: number[] = [];
  for (let number = from; number < from + single; number++) {
    await applyPolicies(admin, number, number + 1);
    const applied = performance.now();
    const name = `policy-${number}-cleanup`;
    await eventually(name, async () => seen.has(name), { everyMs: 20 });
    latencies.push(Math.max(0, seen.get(name)! - applied));
  }
  await cronJobs.stop();
  return latencies.sort((a, b) => a - b);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { policies: { type: 'string', default: '5000' }, minutes: { type: 'string', default: '11' } },
  });
  const [count, minutes] = [Number(values.policies), Number(values.minutes)];
  if (!Number.isInteger(count) || count < 1)
    throw new Error(`--policies ${values.policies}: must be a whole number from 1`);
  if (!(minutes >= 0)) throw new Error(`--minutes ${values.minutes}: must be a number from 0`);
  const loop = await measureLoop(count);
  const c = await measureController(count, minutes);
  const at = (share: number) => `${short(c.latencies[Math.ceil(share * c.latencies.length) - 1]!)} ms`;
  const rows: Row[] = [
    [
      'all CronJobs right ÷ plain loop',
      '≤ 1.15',
      `${short(c.allSeconds / loop)} (${short(c.allSeconds)} s ÷ ${short(loop)} s)`,
    ],
    ['peak memory', '≤ 250 MB', megabytes(c.peakBytes)],
    ['peak memory after a restart', '≤ 250 MB', megabytes(c.restartPeakBytes)],
    ['one policy applied → its CronJob, p95', '≤ 50 ms', `${at(0.95)} (median ${at(0.5)})`],
    ['restart until all are reconciled', '≤ 5 s', `${short(c.restartSeconds)} s`],
    ['writes of a restart', '0', String(c.restartWrites)],
    [
      '/metrics: longest pause of the event loop',
      '≤ 100 ms',
      `${short(c.scrape.pauseMs)} ms (${megabytes(c.scrape.bytes)} in ${short(c.scrape.ms)} ms)`,
    ],
    [`writes in ${minutes} minutes of quiet`, '0', `${c.steadyWrites} (${c.reconciles} reconciliations)`],
  ];
  const head = `${cpus().length} cores, Node ${process.versions.node}, ${count} policies in 10 namespaces, concurrency ${concurrency}`;
  process.stdout.write(`${head}\n\n${markdownTable([['', 'goal', 'measured'], ...rows])}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench-controller: ${(error as Error).stack}\n`);
  process.exitCode = 1;
}
