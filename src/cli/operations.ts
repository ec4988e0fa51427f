import type { Command } from 'commander';
import { Option } from 'commander';
import { cleanupOperations } from '../api/spec.ts';
import { ConfigurationError } from '../database/config.ts';
import { addOperationOptions, type OperationOptions } from './policy-options.ts';

const commandNames = ['cleanup', 'stats', ...cleanupOperations] as const;
export type CommandName = (typeof commandNames)[number];

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
      const { operate } = await import('./operate.ts');
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
      const { operate } = await import('./operate.ts');
      process.exitCode = await operate(options.operation ?? 'stats', options);
    });
}
