import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { heldMs } from '../../src/controller/contested.ts';
import { markdownTable, short } from '../bench/markdown.ts';
import { say } from '../bench/progress.ts';
import { startBenchCluster } from '../bench-controller/cluster.ts';
import { differences, formerRemain } from './end-state.ts';
import { faults } from './faults.ts';
import { startFaultyProxy } from './faulty-proxy.ts';
import { World } from './world.ts';

/**
 * After a fault everything is right within this time, counted from when Kubernetes itself has cleaned up. To make all 2,000
 * objects of 500 policies anew takes about 20 s on two quiet cores, and 95 s were seen on busy ones. What users have undone again
 * and again is told for `heldMs` more.
 */
const patienceSeconds = 300 + heldMs / 1000;
/** How long that may take: its garbage collector looks for kinds every 30 s, and waits ever longer for one it does not know. */
const collectorPatienceSeconds = 600;
/** And stays so for this long. */
const calmSeconds = 30;

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: { policies: { type: 'string', default: '500' }, only: { type: 'string', default: '' } },
  });
  const cluster = await startBenchCluster();
  const proxy = await startFaultyProxy(cluster.connection);
  const world = new World(cluster, proxy, Number(values.policies));
  const rows: string[][] = [
    [
      'fault',
      'garbage collected after: s',
      'right after: s',
      'differences after 30 s of calm',
      'unhandled rejections',
      'controllers started anew',
    ],
  ];
  let allRight = true;
  try {
    await world.applyAll();
    await world.startController();
    if ((await settled(cluster.admin, world)).seconds >= patienceSeconds)
      throw new Error(world.warnings.slice(0, 5).join('\n'));
    for (const fault of faults.filter(({ name }) => name.includes(values.only))) {
      say(fault.name);
      const [before, restarts] = [world.warnings.length, world.restarts];
      await fault.happen(world);
      const { collectedSeconds, seconds } = await settled(cluster.admin, world);
      await sleep(calmSeconds * 1000);
      const left = await differences(cluster.admin, world.requested);
      const unhandled = world.warnings.slice(before).filter((line) => !line.startsWith('{'));
      for (const line of [...left, ...unhandled]) say(`  ${line}`);
      rows.push([
        fault.name,
        short(collectedSeconds),
        short(seconds),
        String(left.length),
        String(unhandled.length),
        String(world.restarts - restarts),
      ]);
      allRight &&= left.length === 0 && unhandled.length === 0;
    }
    await world.stopControllers();
  } finally {
    await proxy.close();
    await cluster.plane.stop();
  }
  process.stdout.write(`${values.policies} policies\n\n${markdownTable(rows)}\n`);
  return allRight;
}

/**
 * Seconds until nothing differs any more, or until patience ends, and until nothing was left of policies that are gone: 0
 * where nothing was. A controller can do no more than wait for that.
 */
async function settled(
  admin: Parameters<typeof differences>[0],
  world: World,
): Promise<{ collectedSeconds: number; seconds: number }> {
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  let collectedSeconds = 0;
  let looked = 0;
  while ((await differences(admin, world.requested)).length > 0) {
    if (seconds() < collectorPatienceSeconds && (await formerRemain(admin))) collectedSeconds = seconds();
    if (seconds() - collectedSeconds >= patienceSeconds) break;
    // Looking is work for the API server too: a quarter of the time at most.
    await sleep(Math.max(250, 3_000 * (seconds() - looked)));
    looked = seconds();
  }
  return { collectedSeconds, seconds: seconds() };
}

try {
  if (!(await main())) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`chaos: ${(error as Error).stack}\n`);
  process.exitCode = 1;
}
