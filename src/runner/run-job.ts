import { badInputExitCode, exitCodes, type RunReport, resultWithoutOperations } from '../api/run-result.ts';
import type { CleanupOperation } from '../api/spec.ts';
import { ConfigurationError, type DatabaseConfig } from '../database/config.ts';
import { connect } from '../database/connect.ts';
import { configFromSecret } from '../database/credentials.ts';
import type { Logger } from '../kubernetes/logger.ts';
import { explainSqlError } from '../retention/errors.ts';
import { runRetention } from '../retention/run.ts';
import { runStatistics } from '../retention/run-statistics.ts';
import type { RunnerEnvironment } from './environment.ts';

/** A run's report, and the exit code of its process. */
export interface JobOutcome {
  report: RunReport;
  exitCode: number;
}

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
    const options = {
      identity,
      retention: request.retention,
      schema: request.database.schema,
      timestampTimeZone: request.database.timestampTimeZone,
      limits: request.limits,
      connect: (abandon?: AbortSignal) => connect(config, `retention ${request.policy.name}/${request.job}`, abandon),
      signal,
      log,
      now,
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
    return { report, exitCode: exitCodes[report.result] };
  } catch (error) {
    const badInput = error instanceof ConfigurationError;
    const message = badInput ? error.message : explainSqlError(error);
    log.error({ error: message }, 'the run failed');
    const report = resultWithoutOperations(identity, 'Failed', started, now(), message);
    return { report, exitCode: badInput ? badInputExitCode : exitCodes.Failed };
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
