import type { Client } from 'pg';
import { type EffectiveRetention, effectiveRetention } from '../../src/api/effective.ts';
import type { PresetName } from '../../src/api/presets.ts';
import type { RunResult } from '../../src/api/run-result.ts';
import { cleanupOperations, guardSchema, limitsSchema } from '../../src/api/spec.ts';
import { connect as openConnection } from '../../src/database/connect.ts';
import { Session } from '../../src/database/session.ts';
import { parseDatabaseUri } from '../../src/database/uri.ts';
import type { Guard } from '../../src/retention/guard.ts';
import type { Scope } from '../../src/retention/operation.ts';
import type { RunOptions } from '../../src/retention/options.ts';
import { runRetention } from '../../src/retention/run.ts';
import { collectStatistics, type StatisticsOptions } from '../../src/retention/statistics.ts';
import { silent } from './log.ts';
import type { TestDatabase } from './postgres/database.ts';

/** What a test says about a run; the rest is the preset, every operation, a guard that lets all pass, no log. */
export interface RunOverrides extends Partial<Omit<RunOptions, 'retention' | 'guard' | 'limits'>> {
  preset?: PresetName;
  retention?: Partial<EffectiveRetention>;
  guard?: Partial<Guard>;
  limits?: Partial<RunOptions['limits']>;
}

/** Options of a run of every operation against a test's database, by the preset Development unless said otherwise. */
function runOptions(database: Pick<TestDatabase, 'url'>, overrides: RunOverrides = {}): RunOptions {
  const { preset = 'Development', retention, guard, limits, ...rest } = overrides;
  return {
    identity: { id: 'test', job: 'cleanup', trigger: 'CommandLine' },
    operations: cleanupOperations,
    schema: 'public',
    timestampTimeZone: 'UTC',
    dryRun: false,
    // Whoever says how large batches are wants to count them.
    fixedBatchSize: retention?.batchSize !== undefined,
    connect: connector(database.url),
    signal: new AbortController().signal,
    log: silent,
    now: () => new Date(),
    ...rest,
    retention: { ...effectiveRetention({ preset }), ...retention },
    guard: guardSchema.parse({ maxPercentOfTable: 100, maxPercentOfConnections: 100, ...guard }),
    limits: limitsSchema.parse(limits ?? {}),
  };
}

/** For operations whose tables nothing refers to but acknowledgements. */
export const noKeys: Scope['keys'] = {
  instruction: { references: [], fingerprint: '' },
  acknowledgement: { references: [], fingerprint: '' },
};

/** Runs with `runOptions`. */
export function run(database: Pick<TestDatabase, 'url'>, overrides: RunOverrides = {}): Promise<RunResult> {
  return runRetention(runOptions(database, overrides));
}

/** Statistics of a test's database, by the preset Development unless said otherwise. */
export async function statistics(
  database: Pick<TestDatabase, 'url'>,
  {
    connect = connector(database.url),
    silence,
    ...overrides
  }: Partial<StatisticsOptions> & Pick<RunOverrides, 'connect' | 'silence'> = {},
) {
  const session = new Session(connect, silent, undefined, silence);
  try {
    return await collectStatistics(session, {
      schema: 'public',
      timestampTimeZone: 'UTC',
      retention: effectiveRetention({ preset: 'Development' }),
      lockTimeoutMs: 2_000,
      countTimeoutMs: 30_000,
      stop: new AbortController().signal,
      ...overrides,
    });
  } finally {
    await session.close();
  }
}

/** Opens connections as the product does, without TLS. */
export function connector(url: string, applicationName = 'retention test'): RunOptions['connect'] {
  const { location } = parseDatabaseUri(url, 'the test');
  return (abandon) =>
    openConnection(
      { ...location, source: 'the test', connectTimeoutMs: 10_000, tls: { mode: 'disable' } },
      applicationName,
      abandon,
    );
}

/**
 * Opens connections as `connector` does; each statement waits for `change`, and is what that makes of it. `client` is
 * the connection that it is sent over.
 */
export function intercepting(
  url: string,
  change: (sql: string, client: Client) => string | Promise<string>,
): RunOptions['connect'] {
  const open = connector(url);
  return async (abandon) => {
    const client = await open(abandon);
    const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>;
    client.query = (async (sql: string, ...rest: unknown[]) =>
      query(await change(sql, client), ...rest)) as typeof client.query;
    return client;
  };
}
