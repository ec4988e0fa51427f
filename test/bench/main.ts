import { writeFile } from 'node:fs/promises';
import { bulk } from './contenders/bulk.ts';
import { plpgsql } from './contenders/plpgsql.ts';
import { type Runner, startRunner } from './contenders/runner.ts';
import { type Dataset, fill, nameOf } from './data.ts';
import { machineLines } from './machine.ts';
import { type BenchOptions, readOptions } from './options.ts';
import { say } from './progress.ts';
import { report } from './report.ts';
import type { Results } from './results.ts';
import { cleanupScenario } from './scenarios/cleanup.ts';
import { type BenchServer, startBenchServer } from './server.ts';

async function bench(options: BenchOptions, server: BenchServer, runner: Runner): Promise<Results> {
  const results: Results = { machine: machineLines(server), cleanups: [] };
  for (const line of results.machine) say(line);
  for (const dataset of options.datasets) await benchDataset(dataset, options, server, runner, results);
  return results;
}

async function benchDataset(
  dataset: Dataset,
  options: BenchOptions,
  server: BenchServer,
  runner: Runner,
  results: Results,
): Promise<void> {
  const template = nameOf(dataset);
  say(`making the rows of ${template}`);
  await server.createTemplate(template, (client) => fill(client, dataset));
  if (options.scenarios.includes('cleanup')) {
    const contenders = [runner.contender, bulk, plpgsql];
    const rounds = await cleanupScenario(server, template, contenders, options.rounds);
    results.cleanups.push({ dataset, rounds });
  }
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const server = await startBenchServer();
  const runner = await startRunner();
  try {
    const results = await bench(options, server, runner);
    const text = report(results);
    process.stdout.write(text);
    if (options.output !== undefined) {
      await writeFile(options.output, text);
      await writeFile(options.output.replace(/(\.[^./]*)?$/, '.json'), JSON.stringify(results, undefined, 2));
    }
  } finally {
    await runner.close();
    await server.stop();
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
