import type { Runner } from '../contenders/runner.ts';
import { say } from '../progress.ts';
import { startSqlProxy } from '../sql-proxy.ts';

/** One run that has nothing to do. */
export interface Start {
  /** From starting the process to the arrival of its first statement at the server: Node, modules, connection, login. */
  firstSqlSeconds: number;
  processSeconds: number;
  peakMemoryBytes: number | undefined;
}

/** Runs against a database with empty tables, one after the other. The first run only warms the file cache. */
export async function startScenario(url: string, runner: Runner, runs: number): Promise<Start[]> {
  const proxy = await startSqlProxy(url);
  try {
    const starts: Start[] = [];
    for (let run = 0; run <= runs; run++) {
      const { startedAt, processSeconds, peakMemoryBytes } = await runner.cleanUp(proxy.url);
      const { firstStatementAt } = proxy.take();
      if (firstStatementAt === undefined) throw new Error('the runner sent no statement');
      if (run === 0) continue;
      starts.push({ firstSqlSeconds: (firstStatementAt - startedAt) / 1000, processSeconds, peakMemoryBytes });
    }
    say(`start: ${runs} runs`);
    return starts;
  } finally {
    proxy.stop();
  }
}
