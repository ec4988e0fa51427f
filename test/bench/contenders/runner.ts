import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { apiVersion, kind } from '../../../src/api/policy.ts';
import { type RunResult, runResultSchema } from '../../../src/api/run-result.ts';
import { cleanupOperations } from '../../../src/api/spec.ts';
import { RetentionProcesses } from '../../support/retention-process.ts';
import { watchMemory } from '../memory.ts';
import type { Cleanup, Contender } from './contender.ts';

/** How a process of the runner went. */
interface RunnerRun {
  result: RunResult;
  /** As `performance.now()` says. */
  startedAt: number;
  processSeconds: number;
  /** Undefined where the system does not tell. */
  peakMemoryBytes: number | undefined;
}

/** This program as processes of their own, by the policy Development with a guard that lets all pass. */
export interface Runner {
  contender: Contender;
  /** One full cleanup, with more of the policy's spec. `started` is called when the process has been started. */
  cleanUp(url: string, spec?: object, started?: (stop: () => void) => void): Promise<RunnerRun>;
  /** Creates the indexes that the program advises. */
  createAdvisedIndexes(url: string, spec: object): Promise<void>;
  close(): Promise<void>;
}

export async function startRunner(): Promise<Runner> {
  const folder = await mkdtemp(join(tmpdir(), 'retention-bench-'));
  const processes = new RetentionProcesses();
  const file = join(folder, 'policy.yaml');

  async function start(command: string[], url: string, spec: object) {
    await writeFile(file, JSON.stringify(policy(spec)));
    const startedAt = performance.now();
    return { startedAt, child: processes.start([...command, '--file', file, '--database-url', withoutTls(url)]) };
  }

  async function cleanUp(url: string, spec: object = {}, started?: (stop: () => void) => void): Promise<RunnerRun> {
    const { child, startedAt } = await start(['cleanup', '--output', 'json'], url, spec);
    const memory = watchMemory(child.pid);
    started?.(() => child.kill('SIGTERM'));
    const { exitCode, stdout, stderr } = await child.ended;
    const processSeconds = (performance.now() - startedAt) / 1000;
    const peakMemoryBytes = memory.stop();
    if (stdout === '') throw new Error(`the runner ended with ${exitCode}: ${stderr}`);
    return { result: runResultSchema.parse(JSON.parse(stdout)), startedAt, processSeconds, peakMemoryBytes };
  }

  return {
    contender: {
      name: 'runner',
      // The others leave their dead rows too.
      run: async (url) => figuresOf(await cleanUp(url, { limits: { maxDuration: '24h', vacuum: false } })),
    },
    cleanUp,
    async createAdvisedIndexes(url, spec) {
      const { child } = await start(['indexes', '--apply'], url, spec);
      const { exitCode, stderr } = await child.ended;
      if (exitCode !== 0) throw new Error(`"indexes --apply" ended with ${exitCode}: ${stderr}`);
    },
    async close() {
      await processes.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function policy(spec: object) {
  return {
    apiVersion,
    kind,
    metadata: { name: 'bench', namespace: 'bench' },
    spec: {
      preset: 'Development',
      database: { secretRef: { name: 'bench' } },
      schedule: '0 0 1 1 *',
      guard: { maxRowsPerRun: 1_000_000_000_000, maxPercentOfTable: 100, maxPercentOfConnections: 100 },
      ...spec,
    },
  };
}

function withoutTls(url: string): string {
  const target = new URL(url);
  target.searchParams.set('sslmode', 'disable');
  return target.href;
}

function figuresOf({ result, processSeconds, peakMemoryBytes }: RunnerRun): Cleanup {
  if (result.result !== 'Succeeded') throw new Error(`the runner's result: ${JSON.stringify(result)}`);
  const operations = Object.fromEntries(
    cleanupOperations.map((name) => {
      const operation = result.operations.find((one) => one.name === name);
      if (operation === undefined) throw new Error(`the runner did not do ${name}: ${JSON.stringify(result)}`);
      const { closed = 0, archived = 0, deleted = 0, durationSeconds } = operation;
      return [name, { rows: closed + archived + deleted, seconds: durationSeconds }];
    }),
  ) as Cleanup['operations'];
  return { operations, seconds: result.durationSeconds, processSeconds, peakMemoryBytes };
}
