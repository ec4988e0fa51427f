import type { Client } from 'pg';
import { z } from 'zod';
import { silent } from '../../support/log.ts';
import { withClient } from '../../support/postgres/server.ts';
import { run } from '../../support/retention.ts';
import { type Batch, decileRates, type Flatness } from '../deciles.ts';
import { say } from '../progress.ts';
import type { BenchServer } from '../server.ts';

/** Full cleanups of clones of a template while another session holds a snapshot from before; one list per round. */
export async function flatScenario(server: BenchServer, template: string, rounds: number): Promise<Flatness[][]> {
  const results: Flatness[][] = [];
  for (let round = 1; round <= rounds; round++) {
    const url = await server.clone(template, (client) => client.query('create extension pg_prewarm'));
    results.push(decileRates(await withClient(url, (other) => batchesUnderSnapshot(other, url))));
    await server.drop(url);
    say(`flat, ${template}, round ${round} of ${rounds}`);
  }
  return results;
}

/** Cold buffers would make the first batches slow, and hide that later ones are. */
const warm = `
  select pg_prewarm(oid) from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'i')`;

const actions = ['closed', 'archived', 'deleted'] as const;
const count = z.number().default(0);
const batchSchema = z.object({ operation: z.string(), closed: count, archived: count, deleted: count });

/** The batches of a run in this process, as its log tells them. */
async function batchesUnderSnapshot(other: Client, url: string): Promise<Batch[]> {
  await other.query(warm);
  await other.query('begin isolation level repeatable read');
  await other.query('select from agentinstruction limit 1');
  const batches: Batch[] = [];
  let before = performance.now();
  let done: z.output<typeof batchSchema> | undefined;
  const log = {
    ...silent,
    debug(fields: object, message: string) {
      if (message !== 'batch') return;
      const now = performance.now();
      const sum = batchSchema.parse(fields);
      const last = done?.operation === sum.operation ? done : { closed: 0, archived: 0, deleted: 0 };
      const did = actions.filter((action) => sum[action] > last[action]);
      const rows = actions.reduce((total, action) => total + sum[action] - last[action], 0);
      // The first of an operation also took what came before it.
      if (done?.operation === sum.operation) {
        batches.push({ kind: [sum.operation, ...did].join(' '), rows, seconds: (now - before) / 1000 });
      }
      done = sum;
      before = now;
    },
  };
  const result = await run({ url }, { log, guard: { maxRowsPerRun: 1_000_000_000 } });
  if (result.result !== 'Succeeded') throw new Error(`the run's result: ${JSON.stringify(result)}`);
  await other.query('rollback');
  return batches;
}
