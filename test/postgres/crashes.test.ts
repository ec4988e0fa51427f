import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { RunResult } from '../../src/api/run-result.ts';
import { CrashSite, untilAllIsDone } from '../support/crash-site.ts';
import type { AgentTable } from '../support/data/checksum.ts';
import { silent } from '../support/log.ts';
import { policyManifest } from '../support/policies.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { type Boundaries, type Statement, StatementProxy } from '../support/postgres/statement-proxy.ts';
import { type RetentionProcess, RetentionProcesses } from '../support/retention-process.ts';

// Every statement of a run has a number, and all of them are tried, by a proxy that knows where statements begin and end.
// To the server a client that dies after statement n and one that dies before n + 1 are the same: one that has got
// through n statements. So a death at each boundary is a death before each statement and one after the last; there the
// run goes on within this process, cut off for good. Real processes are killed before and after a drawn few.

const instant = new Date().toISOString().replace('Z', '456Z');
// Some hundred runs to a test.
vi.setConfig({ testTimeout: 300_000 });

/** The run's lock has a connection of its own, which it opens first. */
const lockConnection = 1;

let databases: TestDatabase[];
/** Two of the same, to try two things at once. */
let sites: CrashSite[];

beforeAll(async () => {
  databases = await Promise.all([1, 2].map(() => createDatabase({ template: 'no-action' })));
  sites = await Promise.all(databases.map((database) => CrashSite.prepare(database, instant)));
});
afterAll(() => Promise.all(databases.map((database) => database.drop())));

/** Tries each of these on one of the sites, with all rows back in their places. */
async function tryEach<T>(cases: readonly T[], attempt: (site: CrashSite, each: T) => Promise<void>): Promise<void> {
  const left = [...cases];
  await Promise.all(
    sites.map(async (site) => {
      for (let each = left.shift(); each !== undefined; each = left.shift()) {
        await site.settled();
        await site.restore();
        await attempt(site, each);
      }
    }),
  );
}

const describeStatement = ({ number, sql }: Statement) => `at statement ${number}, ${sql}`;

async function terminate(site: CrashSite, pid: number): Promise<void> {
  await site.database.pool.query('select pg_terminate_backend($1)', [pid]);
}

const countsOf = ({ operations }: RunResult) =>
  operations.map(({ cutoff: _, durationSeconds: __, deadRows: ___, ...counts }) => counts);

describe.each(['keyset', 'blocks'] as const)('a run that walks along the %s', (walk) => {
  /** What a run leaves that nothing happens to, what it says, and by which statements. */
  let undisturbed: { statements: Statement[]; counts: ReturnType<typeof countsOf>; state: Record<AgentTable, string> };

  beforeAll(async () => {
    const [site, statements] = [sites[0]!, [] as Statement[]];
    await site.restore();
    const result = await site.run({ walk }, { before: (statement) => statements.push(statement) });
    expect(result).toMatchObject({ result: 'Succeeded', rows: 8 });
    undisturbed = { statements: untilAllIsDone(statements), counts: countsOf(result), state: await site.state() };
  });

  /** Something that happens at one statement, and must happen there. */
  function once({ number, sql }: Statement, act: (statement: Statement) => unknown) {
    let done = false;
    const at = async (statement: Statement) => {
      if (statement.number !== number) return;
      expect(statement.sql).toBe(sql);
      await act(statement);
      done = true;
    };
    return { at, expectDone: () => expect(done, `statement ${number} was reached`).toBe(true) };
  }

  async function expectRerunToFinish(site: CrashSite, what: string): Promise<void> {
    await site.settled();
    const rerun = await site.run({ walk });
    expect(rerun, what).toMatchObject({ result: 'Succeeded' });
    expect(await site.state(), what).toEqual(undisturbed.state);
  }

  async function expectToGoOn(site: CrashSite, what: string, boundaries: Boundaries): Promise<void> {
    const result = await site.run({ walk }, boundaries);
    expect(result, what).toMatchObject({ result: 'Succeeded' });
    expect(countsOf(result), what).toEqual(undisturbed.counts);
    expect(await site.state(), what).toEqual(undisturbed.state);
    await site.settled();
  }

  test('and dies, at any boundary between two statements, is finished by the next run', async () => {
    const { statements } = undisturbed;
    const boundaries = [
      ...statements.map((statement) => ({ side: 'before', statement })),
      { side: 'after', statement: statements.at(-1)! },
    ];
    await tryEach(boundaries, async (site, { side, statement }) => {
      const death = once(statement, ({ die }) => die());
      await site.run({ walk, retryPausesMs: [] }, { [side]: death.at });
      death.expectDone();
      await expectRerunToFinish(site, `${side} death ${describeStatement(statement)}`);
    });
  });

  test('goes on with right counts when its connection is terminated at any statement, the lock’s excepted', async () => {
    await tryEach(undisturbed.statements, async (site, statement) => {
      const what = `terminated ${describeStatement(statement)}`;
      const termination = once(statement, ({ pid }) => terminate(site, pid));
      if (statement.connection !== lockConnection) {
        await expectToGoOn(site, what, { before: termination.at });
      } else {
        const result = await site.run({ walk }, { before: termination.at });
        // It is asked again after each flush.
        const begun = undisturbed.statements.some(
          (each) => each.connection !== lockConnection && each.number < statement.number,
        );
        expect(result, what).toMatchObject(
          begun ? { result: 'Partial' } : { result: 'Failed', rows: 0, operations: [] },
        );
        await expectRerunToFinish(site, what);
      }
      termination.expectDone();
    });
  });

  test('goes on with right counts when its connection is cut before a COMMIT has reached the server, or before its answer', async () => {
    const commits = undisturbed.statements.filter(({ sql }) => sql === 'commit');
    const cuts = commits.flatMap((statement) => [
      { side: 'before', statement },
      { side: 'after', statement },
    ]);
    let asked = 0;
    await tryEach(cuts, async (site, { side, statement }) => {
      const cut = once(statement, (reached) => reached.cut());
      await expectToGoOn(site, `cut ${side} ${describeStatement(statement)}`, {
        async before(next) {
          if (/pg_xact_status/.test(next.sql)) asked += 1;
          if (side === 'before') await cut.at(next);
        },
        after: (next) => (side === 'after' ? cut.at(next) : undefined),
      });
      cut.expectDone();
    });
    // A transaction that wrote nothing has no outcome to ask for, and a flush is made once more.
    const writes = undisturbed.counts.reduce((sum, { batches }) => sum + batches, 0);
    expect(asked).toBe(2 * writes);
  });

  test('begins no batch after the connection of its lock was terminated, and is finished by the next run', async () => {
    const later = undisturbed.statements.filter(({ connection }) => connection !== lockConnection);
    await tryEach(later, async (site, statement) => {
      const what = `lock lost ${describeStatement(statement)}`;
      const noticed = Promise.withResolvers<void>();
      const log = { ...silent, warn: (_: object, message: string) => message === 'stopping' && noticed.resolve() };
      const after: string[] = [];
      let lock = 0;
      const loss = once(statement, async () => {
        await terminate(site, lock);
        await noticed.promise;
      });
      const result = await site.run(
        { walk, log },
        {
          async before(next) {
            if (next.connection === lockConnection) lock = next.pid;
            if (next.number >= statement.number) after.push(next.sql);
            await loss.at(next);
          },
        },
      );
      loss.expectDone();
      expect(result, what).toMatchObject({ result: 'Partial' });
      expect(result.message, what).toMatch(/^stopped: the connection that holds the run.s lock was lost/);
      const laterTransactions = after.slice(after.indexOf('commit') + 1);
      expect(
        laterTransactions.filter((sql) => /^(update|delete)/.test(sql)),
        what,
      ).toEqual([]);
      await expectRerunToFinish(site, what);
    });
  });
});

describe('a process that is killed', () => {
  const processes = new RetentionProcesses();
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'retention-crashes-'));
    const spec = { preset: 'Development', retention: { batchSize: 3 }, guard: { maxPercentOfTable: 100 } };
    await writeFile(join(folder, 'policy.yaml'), JSON.stringify(policyManifest('agents', 'crashes', spec)));
  });
  afterAll(async () => {
    await processes.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Runs `retention cleanup` by way of a proxy; boundaries get the process as well. */
  async function cleanup(
    site: CrashSite,
    boundaries: { [side in keyof Boundaries]: (statement: Statement, child: RetentionProcess) => unknown },
  ) {
    let child: RetentionProcess;
    const proxy = await StatementProxy.start(site.database.url, {
      before: (statement) => boundaries.before?.(statement, child),
      after: (statement) => boundaries.after?.(statement, child),
    });
    try {
      const url = `${proxy.through(site.database.url)}?sslmode=disable`;
      child = processes.start(['cleanup', '--file', join(folder, 'policy.yaml'), '--database-url', url]);
      return await child.ended;
    } finally {
      proxy.stop();
    }
  }

  test('before or after any statement, drawn at random, is finished by the next one', async () => {
    const site = sites[0]!;
    let statements = 0;
    await site.restore();
    const { exitCode } = await cleanup(site, { before: () => (statements += 1) });
    expect(exitCode).toBe(0);
    const state = await site.stateWithoutTimes();

    const seed = Date.now() % 2 ** 31;
    const boundary = fc.record({
      number: fc.integer({ min: 1, max: statements }),
      side: fc.constantFrom('before', 'after'),
    });
    await tryEach(fc.sample(boundary, { seed, numRuns: 10 }), async (crashSite, { side, number }) => {
      const what = `killed ${side} statement ${number}, seed ${seed}`;
      const killed = await cleanup(crashSite, {
        [side]: (statement: Statement, child: RetentionProcess) => {
          if (statement.number !== number) return undefined;
          child.kill('SIGKILL');
          return child.ended;
        },
      });
      expect(killed.exitCode, what).toBeNull();
      await crashSite.settled('retention cleanup');
      expect((await cleanup(crashSite, {})).exitCode, what).toBe(0);
      expect(await crashSite.stateWithoutTimes(), what).toEqual(state);
    });
  });
});
