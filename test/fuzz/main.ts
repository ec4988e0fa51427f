import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import { markdownTable, megabytes, whole } from '../bench/markdown.ts';
import { say } from '../bench/progress.ts';
import { namespaces, startBenchCluster } from '../bench-controller/cluster.ts';
import { startControllerProcess } from '../bench-controller/controller-process.ts';
import { Campaign } from './campaign.ts';

/** What is in the cluster at a time is bounded by it; and each round ends with a look at everything. */
const roundSize = 1_000;

async function main(): Promise<boolean> {
  const { values } = parseArgs({ options: { count: { type: 'string', default: '10000' }, seed: { type: 'string' } } });
  const count = Number(values.count);
  const seed = Number(values.seed ?? randomInt(2 ** 31));
  if (!Number.isInteger(count) || count < 1) throw new Error(`--count ${values.count}: must be a whole number from 1`);
  if (!Number.isInteger(seed)) throw new Error(`--seed ${values.seed}: must be a whole number`);
  say(`seed ${seed}`);
  const definition: unknown = parse(await readFile('crds/retentionpolicies.yaml', 'utf8'));
  const cluster = await startBenchCluster();
  try {
    const controller = await startControllerProcess(cluster);
    const connection = connectionFromKubeconfig(cluster.plane.kubeconfigPath);
    const campaign = new Campaign({ connection, controller, namespaces, definition });
    for (let sent = 0; sent < count; sent += roundSize) {
      const before = campaign.failures.length;
      await campaign.round(seed + sent / roundSize, Math.min(roundSize, count - sent));
      say(`${Math.min(sent + roundSize, count)} of ${count} sent, ${campaign.failures.length} failures`);
      for (const failure of campaign.failures.slice(before)) say(failure);
    }
    const before = campaign.failures.length;
    await campaign.end();
    for (const failure of campaign.failures.slice(before)) say(failure);
    const peak = await controller.stop();
    report(campaign, `${cpus().length} cores, seed ${seed}, peak memory of the controller ${megabytes(peak)}`);
    return campaign.failures.length === 0;
  } finally {
    await cluster.plane.stop();
  }
}

function report({ tallies, reasons, failures }: Campaign, head: string): void {
  const rows = [...tallies].map(([what, { sent, rejected, stalled, ready }]) => [
    what,
    ...[sent, rejected, stalled, ready].map(whole),
  ]);
  const table = markdownTable([['', 'sent', 'rejected', 'Stalled', 'Ready'], ...rows]);
  const byReason = [...reasons].map(([reason, count]) => `${reason} ${whole(count)}`).join(', ');
  process.stdout.write(`${head}\n\n${table}\n\nStalled: ${byReason}\nFailures: ${failures.length}\n`);
}

try {
  if (!(await main())) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`fuzz: ${(error as Error).stack}\n`);
  process.exitCode = 1;
}
