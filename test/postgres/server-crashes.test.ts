import fc from 'fast-check';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { RunResult } from '../../src/api/run-result.ts';
import { CrashSite, untilAllIsDone } from '../support/crash-site.ts';
import type { AgentTable } from '../support/data/checksum.ts';
import { startCrashingServer } from '../support/postgres/crashing-server.ts';
import { loadSchema } from '../support/postgres/schema.ts';
import type { LocalServer } from '../support/postgres/server.ts';
import { withClient } from '../support/postgres/server.ts';
import type { Statement } from '../support/postgres/statement-proxy.ts';
import { tableOf } from '../support/retention-oracle.ts';

const instant = new Date().toISOString().replace('Z', '456Z');

// Some dozen starts of a server to a test.
vi.setConfig({ testTimeout: 300_000 });

let server: LocalServer;
let pool: Pool;
let site: CrashSite;

beforeAll(async () => {
  server = await startCrashingServer();
  await withClient(server.adminUrl, (client) => loadSchema(client, 'no-action'));
  pool = new Pool({ connectionString: server.adminUrl });
  pool.on('error', () => {});
  site = await CrashSite.prepare({ url: server.adminUrl, pool }, instant);
});
afterAll(async () => {
  await pool?.end();
  await server?.stop();
});

describe.each(['keyset', 'blocks'] as const)('a server that stops at once, during a walk along the %s,', (walk) => {
  let statements = 0;
  let undisturbed: Record<AgentTable, string>;

  beforeAll(async () => {
    await site.restore();
    const all: Statement[] = [];
    const result = await site.run({ walk }, { before: (statement) => all.push(statement) });
    statements = untilAllIsDone(all).length - 1;
    expect(result).toMatchObject({ result: 'Succeeded', rows: 8 });
    undisturbed = await site.state();
  });

  test('right after a run has ended, has all on disk that the run has reported', async () => {
    await site.restore();
    await site.run({ walk });
    await server.crash();
    expect(await site.state()).toEqual(undisturbed);
  });

  test('in the middle of a run, at random, loses nothing of the operations that had ended, and the next run does the rest', async () => {
    const seed = Date.now() % 2 ** 31;
    const boundary = fc.record({
      number: fc.integer({ min: 1, max: statements }),
      side: fc.constantFrom('before', 'after'),
    });
    for (const { number, side } of fc.sample(boundary, { seed, numRuns: 20 })) {
      const what = `crash ${side} statement ${number}, seed ${seed}`;
      await site.restore();
      let crashed: Promise<void> | undefined;
      const crash = (statement: Statement) => {
        if (statement.number === number) crashed = server.crash();
        return crashed;
      };
      const result = await site.run({ walk }, { [side]: crash });
      await crashed;
      expect(result.result, what).toMatch(/^(Partial|Failed)$/);
      const state = await site.state();
      for (const table of endedIn(result)) expect(state[table], `${table}, ${what}`).toBe(undisturbed[table]);
      expect(await site.run({ walk }), what).toMatchObject({ result: 'Succeeded' });
      expect(await site.state(), what).toEqual(undisturbed);
    }
  });
});

/** The tables of the operations that a run reports as done. */
function endedIn({ operations }: RunResult): AgentTable[] {
  const unfinished = /not finished|may not be on disk/;
  return operations
    .filter(({ error, message }) => error === undefined && !unfinished.test(message ?? ''))
    .map(({ name }) => tableOf[name]);
}
