import { milliseconds } from '../api/duration.ts';
import {
  badInputExitCode,
  exitCodes,
  type RunReport,
  type RunResult,
  resultWithoutOperations,
} from '../api/run-result.ts';
import type { CleanupOperation } from '../api/spec.ts';
import { ConfigurationError, type DatabaseConfig } from '../database/config.ts';
import { connect } from '../database/connect.ts';
import { configFromSecret } from '../database/credentials.ts';
import { Session } from '../database/session.ts';
import type { Logger } from '../kubernetes/logger.ts';
import { explainSqlError } from '../retention/errors.ts';
import { runRetention } from '../retention/run.ts';
import { collectStatistics } from '../retention/statistics.ts';
import { stopOf } from '../retention/stop.ts';
import type { RunnerEnvironment } from './environment.ts';

/** A run's report, and the exit code of its process. */
export interface JobOutcome {
  report: RunReport;
  exitCode: number;
}

const countTimeoutMs = 30_000;

/** Does what a runner Pod was asked to; never throws. `signal` is aborted with a sentence as reason. */
export async function runJob(
  environment: RunnerEnvironment,
  log: Logger,
  now: () => Date,
  signal: AbortSignal,
): Promise<JobOutcome> {
  const { request, runId } = environment;
  const identity = { id: runId, job: request.job, trigger: request.trigger };
  const started = now();
  try {
    const config = await databaseConfig(environment);
    const report = request.operations.includes('statistics')
      ? await statisticsReport(environment, config, identity, log, now, signal)
      : await runRetention({
          identity,
          operations: request.operations as CleanupOperation[],
          retention: request.retention,
          schema: request.database.schema,
          timestampTimeZone: request.database.timestampTimeZone,
          dryRun: request.dryRun,
          guard: request.guard,
          limits: request.limits,
          connect: () => connect(config, applicationName(request.policy.name, request.job)),
          signal,
          log,
          now,
        });
    return { report, exitCode: exitCodes[report.result] };
  } catch (error) {
    const badInput = error instanceof ConfigurationError;
    const message = badInput ? error.message : explainSqlError(error);
    log.error({ error: message }, 'the run failed');
    const report = resultWithoutOperations(identity, 'Failed', started, now(), message);
    return { report, exitCode: badInput ? badInputExitCode : exitCodes.Failed };
  }
}

const applicationName = (policy: string, job: string) => `retention ${policy}/${job}`;

function databaseConfig({ request, databaseDirectory, caDirectory }: RunnerEnvironment): Promise<DatabaseConfig> {
  const { secretName, tlsMode, caSecret } = request.database;
  return configFromSecret({
    directory: databaseDirectory,
    secretName,
    tlsMode,
    ca:
      caSecret === undefined || caDirectory === undefined
        ? undefined
        : { directory: caDirectory, secretName: caSecret.name, key: caSecret.key },
  });
}

async function statisticsReport(
  { request }: RunnerEnvironment,
  config: DatabaseConfig,
  identity: Pick<RunResult, 'id' | 'job' | 'trigger'>,
  log: Logger,
  now: () => Date,
  signal: AbortSignal,
): Promise<RunReport> {
  const started = now();
  const session = new Session(() => connect(config, applicationName(request.policy.name, request.job)));
  const stop = stopOf({ limits: request.limits, signal, log }, session);
  try {
    const statistics = await collectStatistics(session, {
      schema: request.database.schema,
      timestampTimeZone: request.database.timestampTimeZone,
      retention: request.retention,
      lockTimeoutMs: milliseconds(request.limits.lockTimeout),
      countTimeoutMs,
      stop: stop.signal,
    });
    const { message: _none, ...result } = resultWithoutOperations(identity, 'Succeeded', started, now(), '');
    return { ...result, policy: request.retention, statistics };
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    return resultWithoutOperations(identity, 'Partial', started, now(), stop.note);
  } finally {
    stop.dispose();
    await session.close();
  }
}
