import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../support/eventually.ts';
import { withClient } from '../../support/postgres/server.ts';
import type { Runner } from '../contenders/runner.ts';
import { percentile } from '../figures.ts';
import { type Answers, type ForegroundLoad, type Request, requests, startForegroundLoad } from '../foreground-load.ts';
import { short } from '../markdown.ts';
import { say } from '../progress.ts';
import type { BenchServer } from '../server.ts';

const windowMs = 10_000;
const warmUpMs = 2_000;

/** What a window's requests took, in milliseconds. */
export interface Latencies {
  requests: Record<Request, { count: number; p50: number; p99: number }>;
  errors: Record<string, number>;
}

/** A window without the runner, and the next one with it. */
export interface WindowPair {
  without: Latencies;
  with: Latencies;
  /** How long the runner was at work in its window. */
  runnerSeconds: number;
}

/** Watches a client's requests in windows without and with a runner that has its default limits, in turns. */
export async function foregroundScenario(
  server: BenchServer,
  template: string,
  runner: Runner,
  pairs: number,
): Promise<WindowPair[]> {
  const results: WindowPair[] = [];
  while (results.length < pairs) {
    const url = await server.clone(template);
    const load = await startForegroundLoad(url);
    try {
      await load.during(sleep(warmUpMs));
      // Until nothing is due any more; then another clone is taken.
      for (let more = true; more && results.length < pairs; ) {
        const without = latencies(await load.during(sleep(windowMs)));
        const window = await windowWithRunner(url, load, runner);
        results.push({ without, with: latencies(window.answers), runnerSeconds: window.seconds });
        more = !window.finished;
        say(`foreground, pair ${results.length} of ${pairs}: the runner was at work for ${short(window.seconds)} s`);
      }
    } finally {
      await load.close();
      await server.drop(url);
    }
  }
  return results;
}

/** From when the runner has connected until it ends by itself, or is stopped at the end of the window. */
async function windowWithRunner(url: string, load: ForegroundLoad, runner: Runner) {
  let stop = () => {};
  const running = runner.cleanUp(url, {}, (stopRunner) => {
    stop = stopRunner;
  });
  running.catch(() => {}); // awaited below
  await eventually('the runner to connect', () => isConnected(url));
  const started = performance.now();
  const answers = await load.during(Promise.race([running, sleep(windowMs)]));
  const seconds = (performance.now() - started) / 1000;
  stop();
  const { result } = await running;
  if (result.result !== 'Succeeded' && result.result !== 'Partial') {
    throw new Error(`the runner's result: ${JSON.stringify(result)}`);
  }
  return { answers, seconds, finished: result.result === 'Succeeded' };
}

function isConnected(url: string): Promise<boolean> {
  return withClient(url, async (client) => {
    const { rowCount } = await client.query(
      `select from pg_stat_activity where datname = current_database() and starts_with(application_name, 'retention')`,
    );
    return rowCount !== 0;
  });
}

function latencies({ milliseconds, errors }: Answers): Latencies {
  const summary = requests.map((request) => {
    const times = milliseconds[request];
    if (times.length === 0) throw new Error(`a window without an answer to "${request}": ${JSON.stringify(errors)}`);
    return [request, { count: times.length, p50: percentile(times, 0.5), p99: percentile(times, 0.99) }];
  });
  return { requests: Object.fromEntries(summary), errors };
}
