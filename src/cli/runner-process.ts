import { writeFile } from 'node:fs/promises';
import { runnerEnvironment } from '../api/run-request.ts';
import { badInputExitCode, type RunReport, terminationMessage } from '../api/run-result.ts';
import type { Logger } from '../kubernetes/logger.ts';
import { type RunnerEnvironment, runnerEnvironmentFrom } from '../runner/environment.ts';
import { runJob } from '../runner/run-job.ts';
import { jsonLogger } from './logger.ts';
import { exitCodeOfStoppedRun, hardExitAfterMs, stopSignal } from './stop-signal.ts';

const reportPatienceMs = 60_000;

/** Does what the environment of a runner Pod asks for, reports it, and gives the exit code. */
export async function runnerProcess(env: NodeJS.ProcessEnv): Promise<number> {
  const stop = stopSignal();
  stop.addEventListener('abort', () => setTimeout(() => process.exit(exitCodeOfStoppedRun), hardExitAfterMs).unref());
  let log: Logger;
  let environment: RunnerEnvironment;
  try {
    log = jsonLogger(env);
    environment = runnerEnvironmentFrom(env);
  } catch (error) {
    log = jsonLogger({});
    await writeTerminationMessage(env, (error as Error).message, log);
    log.error({ error: (error as Error).message }, 'the run cannot start');
    return badInputExitCode;
  }
  const { policy, job, operations } = environment.request;
  log.info({ policy: `${policy.namespace}/${policy.name}`, job, operations, run: environment.runId }, 'run starts');
  const { report, exitCode } = await runJob(environment, log, () => new Date(), stop);
  // First what needs no API server.
  await writeTerminationMessage(env, terminationMessage(report), log);
  process.stdout.write(`${JSON.stringify(report)}\n`);
  await reportRun(environment, report, log, stop);
  log.info({ result: report.result, rows: report.rows, message: report.message, exitCode }, 'run ends');
  return exitCode;
}

async function writeTerminationMessage(env: NodeJS.ProcessEnv, text: string, log: Logger): Promise<void> {
  const file = env[runnerEnvironment.terminationLog];
  if (file === undefined) return;
  await writeFile(file, text).catch((error: Error) =>
    log.warn({ error: error.message }, 'the termination message could not be written'),
  );
}

async function reportRun(
  { request, serviceAccountDirectory }: RunnerEnvironment,
  report: RunReport,
  log: Logger,
  stop: AbortSignal,
): Promise<void> {
  if (serviceAccountDirectory === undefined) return;
  try {
    // Loaded when there is a result to report: the database does not wait for it.
    const [{ Client }, { serviceAccountConnection }, { reportToStatus }] = await Promise.all([
      import('../kubernetes/client.ts'),
      import('../kubernetes/connection.ts'),
      import('../runner/report.ts'),
    ]);
    const client = new Client(serviceAccountConnection(serviceAccountDirectory));
    await reportToStatus(client, request.policy, report, log, { patienceMs: reportPatienceMs, signal: stop });
  } catch (error) {
    log.error({ error: (error as Error).message }, 'the result could not be written to the status');
  }
}
