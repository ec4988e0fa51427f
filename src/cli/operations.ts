import type { Command } from 'commander';
import { Option } from 'commander';
import { milliseconds } from '../api/duration.ts';
import { exitCodes, type RunReport, resultWithoutOperations } from '../api/run-result.ts';
import { type CleanupOperation, cleanupOperations } from '../api/spec.ts';
import { ConfigurationError } from '../database/config.ts';
import { connect } from '../database/connect.ts';
import { configFromCommandLine } from '../database/credentials.ts';
import { Session } from '../database/session.ts';
import { runRetention } from '../retention/run.ts';
import { collectStatistics } from '../retention/statistics.ts';
import { printReport } from './output.ts';
import { addOperationOptions, type OperationOptions, policyOf } from './policy-options.ts';
import { progressReporter } from './progress.ts';
import { stopSignal } from './stop-signal.ts';
import { textLogger } from './text-logger.ts';

const commandNames = ['cleanup', 'stats', ...cleanupOperations] as const;
type CommandName = (typeof commandNames)[number];

const descriptions: Record<CommandName, string> = {
  cleanup: 'run every operation, in their order',
  stats: 'show sizes, ages, rows due, and rows that no operation takes',
  connections: 'close connections without a heartbeat',
  instructions: 'archive old instructions with acknowledgements, delete those without',
  sessions: 'archive the experimental parameters of sessions that ended long ago',
  acknowledgements: 'delete old acknowledgements, whatever the policy says of seven years',
};

const countTimeoutMs = 30_000;

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
  const policy = await policyOf(options);
  const config = await configFromCommandLine(options.databaseUrl, process.env, { tlsMode: policy.tlsMode });
  const report = await (name === 'stats' ? statistics : cleanup)(name, policy, options, () =>
    connect(config, `retention ${name}`),
  );
  process.stdout.write(printReport(report, options.output ?? 'text'));
  return exitCodes[report.result];
}

type Policy = Awaited<ReturnType<typeof policyOf>>;

function identityOf(name: CommandName) {
  return { id: `cli-${new Date().toISOString()}`, job: name, trigger: 'CommandLine' as const };
}

async function cleanup(
  name: CommandName,
  policy: Policy,
  options: OperationOptions,
  open: () => ReturnType<typeof connect>,
): Promise<RunReport> {
  const progress = progressReporter(process.stderr);
  try {
    return await runRetention({
      ...policy,
      identity: identityOf(name),
      operations: name === 'cleanup' ? cleanupOperations : [name as CleanupOperation],
      dryRun: policy.dryRun || options.dryRun === true,
      ignoreAuditTrailGate: name === 'acknowledgements',
      connect: open,
      signal: stopSignal(),
      log: textLogger(process.stderr),
      now: () => new Date(),
      onProgress: progress.show,
    });
  } finally {
    progress.end();
  }
}

async function statistics(
  name: CommandName,
  policy: Policy,
  _options: OperationOptions,
  open: () => ReturnType<typeof connect>,
): Promise<RunReport> {
  const started = new Date();
  const session = new Session(open);
  try {
    const collected = await collectStatistics(session, {
      schema: policy.schema,
      timestampTimeZone: policy.timestampTimeZone,
      retention: policy.retention,
      lockTimeoutMs: milliseconds(policy.limits.lockTimeout),
      countTimeoutMs,
    });
    const { message: _none, ...result } = resultWithoutOperations(
      identityOf(name),
      'Succeeded',
      started,
      new Date(),
      '',
    );
    return { ...result, policy: policy.retention, statistics: collected };
  } finally {
    await session.close();
  }
}
