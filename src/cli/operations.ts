import type { Command } from 'commander';
import { Option } from 'commander';
import { exitCodes, type RunReport, resultWithoutOperations } from '../api/run-result.ts';
import { cleanupOperations } from '../api/spec.ts';
import { ConfigurationError } from '../database/config.ts';
import { connect } from '../database/connect.ts';
import { configFromCommandLine } from '../database/credentials.ts';
import type { RunOptions } from '../retention/options.ts';
import { runRetention } from '../retention/run.ts';
import { runStatistics } from '../retention/run-statistics.ts';
import { printReport } from './output.ts';
import { addOperationOptions, type OperationOptions, policyOf } from './policy-options.ts';
import { progressReporter } from './progress.ts';
import { stopSignal } from './stop-signal.ts';
import { textLogger } from './text-logger.ts';

const commandNames = ['cleanup', 'stats', ...cleanupOperations] as const;
type CommandName = (typeof commandNames)[number];

const descriptions: Record<CommandName, string> = {
  cleanup: "run every operation, in their order; with --file those of the policy's jobs",
  stats: 'show sizes, ages, rows due, and rows that no operation takes',
  connections: 'close connections without a heartbeat',
  instructions: 'archive old instructions with acknowledgements, delete those without',
  sessions: 'archive the experimental parameters of sessions that ended long ago',
  acknowledgements: 'delete old acknowledgements, whatever the policy says of seven years',
};

/**
 * Adds a command per operation, and the form of the service that this replaces:
 * `retention --policy development --operation cleanup --dry-run`, with `stats` as the default operation.
 */
export function addOperationCommands(program: Command): void {
  for (const name of commandNames) {
    const command = program.command(name).description(descriptions[name]);
    addOperationOptions(command).action(async (options: OperationOptions) => {
      const general = program.opts<OperationOptions & { operation?: CommandName }>();
      if (general.operation !== undefined) {
        throw new ConfigurationError(`--operation ${general.operation} and the command ${name}: give one of them`);
      }
      process.exitCode = await operate(name, { ...general, ...options });
    });
  }
  addOperationOptions(program)
    .addOption(new Option('--operation <name>', 'operation to run (default: stats)').choices(commandNames))
    .argument('[command]')
    .usage('[options] [command]')
    .action(async (unknown: string | undefined, options: OperationOptions & { operation?: CommandName }) => {
      if (unknown !== undefined) {
        const names = program
          .createHelp()
          .visibleCommands(program)
          .map((command) => command.name())
          .join(', ');
        throw new ConfigurationError(`unknown command "${unknown}"; the commands are ${names}`);
      }
      process.exitCode = await operate(options.operation ?? 'stats', options);
    });
}

async function operate(name: CommandName, options: OperationOptions): Promise<number> {
  const format = options.output ?? 'text';
  const identity = { id: `cli-${new Date().toISOString()}`, job: name, trigger: 'CommandLine' as const };
  const started = new Date();
  try {
    const report = await reportOf(name, options, identity);
    const exitCode = exitCodes[report.result];
    process.stdout.write(printReport(report, format));
    if (exitCode !== 0) process.stderr.write(`error: ${report.message ?? report.result}\n`);
    return exitCode;
  } catch (error) {
    // Whoever reads JSON or YAML gets a result whatever happens; main tells the reason on stderr.
    if (format !== 'text') {
      const failed = resultWithoutOperations(identity, 'Failed', started, new Date(), (error as Error).message);
      process.stdout.write(printReport(failed, format));
    }
    throw error;
  }
}

async function reportOf(
  name: CommandName,
  options: OperationOptions,
  identity: RunOptions['identity'],
): Promise<RunReport> {
  const { tlsMode, ...policy } = await policyOf(options);
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
      dryRun: policy.dryRun || options.dryRun === true,
      ignoreAuditTrailGate: name === 'acknowledgements',
      onProgress: progress.show,
    });
  } finally {
    progress.end();
  }
}
