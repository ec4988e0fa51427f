import { badInputExitCode, exitCodes, type RunReport, resultWithoutOperations } from '../api/run-result.ts';
import type { CleanupOperation } from '../api/spec.ts';
import { ConfigurationError, type DatabaseConfig } from '../database/config.ts';
import { connect } from '../database/connect.ts';
import { configFromSecret } from '../database/credentials.ts';
import type { Logger } from '../kubernetes/logger.ts';
import { explainSqlError } from '../retention/errors.ts';
import { fingerprintOf } from '../retention/fingerprint.ts';
import { runRetention } from '../retention/run.ts';
import { runStatistics } from '../retention/run-statistics.ts';
import type { RunnerEnvironment } from './environment.ts';

/** A run's report, and the exit code of its process. */
export interface JobOutcome {
  report: RunReport;
  exitCode: number;
}

/**
 * Does what a runner Pod was asked to; never throws. `signal` is aborted with a sentence as reason. Tests say how long a first
 * connection is tried, in milliseconds.
 */
export async function runJob(
  environment: RunnerEnvironment,
  log: Logger,
  now: () => Date,
  signal: AbortSignal,
  firstConnectionMs?: number,
): Promise<JobOutcome> {
  const { request, runId } = environment;
  const identity = { id: runId, job: request.job, trigger: request.trigger };
  const started = now();
  const { secretName, schema } = request.database;
  let fingerprint: string | undefined;
  const outcome = (report: RunReport, exitCode = exitCodes[report.result]): JobOutcome => ({
    report: fingerprint === undefined ? report : { ...report, database: { secret: secretName, schema, fingerprint } },
    exitCode,
  });
  try {
    const config = await databaseConfig(environment);
    const options = {
      identity,
      retention: request.retention,
      schema,
      timestampTimeZone: request.database.timestampTimeZone,
      limits: request.limits,
      async connect(abandon?: AbortSignal) {
        const client = await connect(config, `retention ${request.policy.name}/${request.job}`, abandon);
        fingerprint ??= await fingerprintOf(client, schema);
        return client;
      },
      signal,
      log,
      now,
      ...(firstConnectionMs === undefined ? {} : { firstConnectionMs }),
    };
    const report = request.operations.includes('statistics')
      ? await runStatistics(options)
      : await runRetention({
          ...options,
          operations: request.operations as CleanupOperation[],
          applied: request.applied,
          dryRun: request.dryRun,
          guard: request.guard,
        });
    return outcome(report);
  } catch (error) {
    const badInput = error instanceof ConfigurationError;
    const message = badInput ? error.message : explainSqlError(error);
    log.error({ error: message }, 'the run failed');
    const report = resultWithoutOperations(identity, 'Failed', started, now(), message);
    return outcome(report, badInput ? badInputExitCode : exitCodes.Failed);
  }
}

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
