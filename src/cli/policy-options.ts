import { type Command, Option } from 'commander';
import type { PresetName } from '../api/presets.ts';
import { environmentVariables } from '../database/command-line.ts';

/** The names that people know the presets by on the command line. */
export const presetOptions: Record<string, PresetName> = {
  scientific: 'ScientificCompliance',
  development: 'Development',
};

export const outputs = ['text', 'json', 'yaml'] as const;

/** Options as given; defaults are applied later, since the same option may stand before or after a command's name. */
export interface PolicyOptions {
  policy?: string;
  file?: string;
  schema?: string;
}
export interface DatabaseOptions extends PolicyOptions {
  databaseUrl?: string;
}
export interface OperationOptions extends DatabaseOptions {
  dryRun?: boolean;
  force?: boolean;
  output?: (typeof outputs)[number];
}

/** Adds the options that say which policy applies. */
export function addPolicyOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--policy <preset>', 'preset to apply (default: scientific)').choices(Object.keys(presetOptions)),
    )
    .option('--file <policy.yaml>', 'apply the RetentionPolicy in this file (- for stdin) instead of a preset')
    .option('--schema <name>', 'PostgreSQL schema of the agent tables (default: public, or what the file says)');
}

/** Adds the options of everything that works on a database. */
export function addDatabaseOptions(command: Command): Command {
  return addPolicyOptions(command).option(
    '--database-url <uri>',
    `postgresql:// URI (default: what ${environmentVariables.join(', ')} say; host, port, user and database have psql's defaults)`,
  );
}

/** Adds the options of everything that runs operations. */
export function addOperationOptions(command: Command): Command {
  return addDatabaseOptions(command)
    .option('--dry-run', 'only count what would change')
    .option('--force', 'change the database although the policy in --file is suspended or being deleted')
    .addOption(new Option('--output <format>', 'how the result is printed (default: text)').choices(outputs));
}
