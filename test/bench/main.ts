import { writeFile } from 'node:fs/promises';
import { loadSchema } from '../support/postgres/schema.ts';
import { fillArchived } from './archived.ts';
import { bulk } from './contenders/bulk.ts';
import { plpgsql } from './contenders/plpgsql.ts';
import { type Runner, startRunner } from './contenders/runner.ts';
import { fill, nameOf } from './data.ts';
import { machineLines } from './machine.ts';
import { type BenchOptions, readOptions } from './options.ts';
import { say } from './progress.ts';
import { report } from './report.ts';
import type { Results } from './results.ts';
import { cleanupScenario } from './scenarios/cleanup.ts';
import { flatScenario } from './scenarios/flat.ts';
import { foregroundScenario } from './scenarios/foreground.ts';
import { nothingDueScenario } from './scenarios/nothing-due.ts';
import { startScenario } from './scenarios/start.ts';
import { type BenchServer, startBenchServer } from './server.ts';

const starts = 10;

async function bench(options: BenchOptions, server: BenchServer, runner: Runner): Promise<Results> {
  const { datasets, rounds } = options;
  const wanted = new Set(options.scenarios);
  const results: Results = { machine: machineLines(server), cleanups: [] };
  for (const line of results.machine) say(line);
  if (wanted.has('start')) {
    const template = await server.template('empty', (client) => loadSchema(client, 'no-action'));
    results.start = await startScenario(await server.clone(template), runner, starts);
  }
  if (wanted.has('cleanup')) {
    for (const dataset of datasets) {
      const template = await server.template(nameOf(dataset), (client) => fill(client, dataset));
      const contenders = [runner.contender, bulk, plpgsql];
      results.cleanups.push({ dataset, rounds: await cleanupScenario(server, template, contenders, rounds) });
    }
  }
  // The largest, and not the worst case, of what was asked for.
  const dataset = datasets.findLast(({ shuffled }) => !shuffled) ?? datasets.at(-1)!;
  const template = () => server.template(nameOf(dataset), (client) => fill(client, dataset));
  if (wanted.has('flat')) {
    results.flat = { dataset, rounds: await flatScenario(server, await template(), rounds) };
  }
  if (wanted.has('foreground')) {
    results.foreground = { dataset, pairs: await foregroundScenario(server, await template(), runner, rounds) };
  }
  if (wanted.has('nothing-due')) {
    const instructions = dataset.size === 'XS' ? 20_000 : 1_000_000;
    const archived = await server.template('archived', (client) => fillArchived(client, instructions));
    results.nothingDue = { instructions, variants: await nothingDueScenario(server, archived, runner, rounds) };
  }
  return results;
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
