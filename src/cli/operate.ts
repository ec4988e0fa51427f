import { exitCodes, printable, type RunReport, resultWithoutOperations } from '../api/run-result.ts';
import { configFromCommandLine } from '../database/command-line.ts';
import { ConfigurationError } from '../database/config.ts';
import { connect } from '../database/connect.ts';
import type { RunOptions } from '../retention/options.ts';
import { runRetention } from '../retention/run.ts';
import { runStatistics } from '../retention/run-statistics.ts';
import type { CommandName } from './operations.ts';
import { printReport } from './output.ts';
import { policyOf } from './policy.ts';
import type { OperationOptions } from './policy-options.ts';
import { progressReporter } from './progress.ts';
import { stopSignal } from './stop-signal.ts';
import { textLogger } from './text-logger.ts';

/** Runs a command that works on a database, prints what came of it, and gives the exit code. */
export async function operate(name: CommandName, options: OperationOptions): Promise<number> {
  const format = options.output ?? 'text';
  const identity = { id: `cli-${new Date().toISOString()}`, job: name, trigger: 'CommandLine' as const };
  const started = new Date();
  try {
    const report = await reportOf(name, options, identity);
    const exitCode = exitCodes[report.result];
    process.stdout.write(await printReport(report, format));
    if (exitCode !== 0) process.stderr.write(`error: ${printable(report.message ?? report.result)}\n`);
    return exitCode;
  } catch (error) {
    // Whoever reads JSON or YAML gets a result whatever happens; main tells the reason on stderr.
    if (format !== 'text') {
      const failed = resultWithoutOperations(identity, 'Failed', started, new Date(), (error as Error).message);
      process.stdout.write(await printReport(failed, format));
    }
    throw error;
  }
}

async function reportOf(
  name: CommandName,
  options: OperationOptions,
  identity: RunOptions['identity'],
): Promise<RunReport> {
  const { tlsMode, runsNothing, ...policy } = await policyOf(options);
  const dryRun = policy.dryRun || options.dryRun === true;
  if (runsNothing !== undefined && name !== 'stats' && !dryRun && !options.force) {
    throw new ConfigurationError(
      `--file ${options.file}: ${runsNothing}, so no run starts on the cluster; --dry-run only counts, --force changes the database nevertheless`,
    );
  }
  const config = await configFromCommandLine(options.databaseUrl, process.env, tlsMode);
  const run = {
    ...policy,
    identity,
    connect: (abandon?: AbortSignal) => connect(config, `retention ${name}`, abandon),
    signal: stopSignal(),
    log: textLogger(process.stderr),
    now: () => new Date(),
  };
  if (name === 'stats') return runStatistics(run);
  if (name !== 'cleanup' && !policy.operations.includes(name)) {
    run.log.warn({ name }, 'no job of the policy has this operation; it runs since it was asked for by name');
  }
  const progress = progressReporter(process.stderr);
  try {
    return await runRetention({
      ...run,
      operations: name === 'cleanup' ? policy.operations : [name],
      dryRun,
      ignoreAuditTrailGate: name === 'acknowledgements',
      onProgress: progress.show,
    });
  } finally {
    progress.end();
  }
}
