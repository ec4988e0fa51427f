import { archivedRetention } from '../archived.ts';
import type { Runner } from '../contenders/runner.ts';
import { short } from '../markdown.ts';
import { say } from '../progress.ts';
import type { BenchServer } from '../server.ts';
import { type SqlTraffic, startSqlProxy } from '../sql-proxy.ts';

/** Runs that find nothing due, with or without the indexes that the program advises. */
export interface NothingDue {
  advisedIndexes: boolean;
  runs: (Pick<SqlTraffic, 'seconds' | 'roundTrips'> & { processSeconds: number })[];
}

const spec = { retention: archivedRetention };

/** Settles a clone of the template by one run, then times the statements of others. Throws where these find something due. */
export async function nothingDueScenario(
  server: BenchServer,
  template: string,
  runner: Runner,
  runs: number,
): Promise<NothingDue[]> {
  const results: NothingDue[] = [];
  for (const advisedIndexes of [false, true]) {
    const url = await server.clone(template);
    if (advisedIndexes) await runner.createAdvisedIndexes(url, spec);
    await runner.cleanUp(url, spec);
    results.push({ advisedIndexes, runs: await timeRuns(url, runner, runs) });
    await server.drop(url);
  }
  return results;
}

async function timeRuns(url: string, runner: Runner, count: number): Promise<NothingDue['runs']> {
  const proxy = await startSqlProxy(url);
  try {
    const runs: NothingDue['runs'] = [];
    for (let run = 1; run <= count; run++) {
      const { result, processSeconds } = await runner.cleanUp(proxy.url, spec);
      if (result.result !== 'Succeeded' || result.rows > 0) {
        throw new Error(`a run that should find nothing due: ${JSON.stringify(result)}`);
      }
      const { seconds, roundTrips } = proxy.take();
      runs.push({ seconds, roundTrips, processSeconds });
      say(`nothing due, run ${run} of ${count}: ${short(seconds)} s of SQL`);
    }
    return runs;
  } finally {
    proxy.stop();
  }
}
