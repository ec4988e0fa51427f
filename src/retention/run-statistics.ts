import { milliseconds } from '../api/duration.ts';
import { type Result, type RunReport, resultWithoutOperations } from '../api/run-result.ts';
import { ConfigurationError } from '../database/config.ts';
import { Session } from '../database/session.ts';
import { explainSqlError } from './errors.ts';
import { openerOf } from './opener.ts';
import type { RunOptions } from './options.ts';
import { collectStatistics } from './statistics.ts';
import { stopOf, stoppedBy } from './stop.ts';

const countTimeoutMs = 30_000;

type StatisticsRunOptions = Pick<
  RunOptions,
  | 'identity'
  | 'retention'
  | 'schema'
  | 'timestampTimeZone'
  | 'limits'
  | 'connect'
  | 'signal'
  | 'log'
  | 'now'
  | 'cancelAfterMs'
  | 'firstConnectionMs'
>;

/**
 * Collects statistics and says how it went. Whatever fails becomes part of the report; thrown is only
 * ConfigurationError, for input that has to be corrected before any run can do anything.
 */
export async function runStatistics(options: StatisticsRunOptions): Promise<RunReport> {
  const started = options.now();
  const ended = (result: Result, message?: string) => ({
    ...resultWithoutOperations(options.identity, result, started, options.now(), message),
    policy: options.retention,
  });
  const session = new Session(
    openerOf(options, () => stop),
    options.log,
  );
  const stop = stopOf(options, session);
  try {
    const statistics = await collectStatistics(session, {
      schema: options.schema,
      timestampTimeZone: options.timestampTimeZone,
      retention: options.retention,
      lockTimeoutMs: milliseconds(options.limits.lockTimeout),
      countTimeoutMs,
      stop: stop.signal,
    });
    return { ...ended('Succeeded'), statistics };
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    return stop.signal.aborted ? ended('Partial', stoppedBy(stop, error)) : ended('Failed', explainSqlError(error));
  } finally {
    stop.dispose();
    await session.close();
  }
}
