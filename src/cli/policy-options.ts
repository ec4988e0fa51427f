import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { type Document, parseAllDocuments } from 'yaml';
import { effectiveRetention, presetRetention } from '../api/effective.ts';
import { explain, kind, retentionPolicySchema } from '../api/policy.ts';
import type { PresetName } from '../api/presets.ts';
import { cleanupOperations, guardSchema, limitsSchema } from '../api/spec.ts';
import { ConfigurationError, type TlsMode } from '../database/config.ts';
import { environmentVariables } from '../database/credentials.ts';
import type { RunOptions } from '../retention/options.ts';

/** The names that people know the presets by on the command line. */
const presetOptions: Record<string, PresetName> = { scientific: 'ScientificCompliance', development: 'Development' };

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
  output?: (typeof outputs)[number];
}

/** Adds the options that say which policy applies. */
export function addPolicyOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--policy <preset>', 'preset to apply (default: scientific)').choices(Object.keys(presetOptions)),
    )
    .option('--file <policy.yaml>', 'apply the RetentionPolicy in this file instead of a preset')
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
    .addOption(new Option('--output <format>', 'how the result is printed (default: text)').choices(outputs));
}

/** A policy as the command line applies it. */
export type CommandLinePolicy = Pick<
  RunOptions,
  'operations' | 'retention' | 'schema' | 'timestampTimeZone' | 'dryRun' | 'guard' | 'limits'
> & { tlsMode?: TlsMode };

/** The policy that the options name: a preset, or a file with the very rules that the API server applies. */
export async function policyOf(options: PolicyOptions): Promise<CommandLinePolicy> {
  if (options.policy !== undefined && options.file !== undefined) {
    throw new ConfigurationError('--policy and --file both say which policy applies: give one of them');
  }
  if (options.schema === '') throw new ConfigurationError('--schema must not be empty');
  if (options.file !== undefined) return policyFromFile(options.file, options.schema);
  return {
    operations: cleanupOperations,
    retention: presetRetention(presetOptions[options.policy ?? 'scientific']!),
    schema: options.schema ?? 'public',
    timestampTimeZone: 'UTC',
    dryRun: false,
    guard: guardSchema.parse({}),
    limits: limitsSchema.parse({}),
  };
}

async function policyFromFile(file: string, schema: string | undefined): Promise<CommandLinePolicy> {
  const document = await onlyPolicyIn(file);
  const parsed = retentionPolicySchema.safeParse(document);
  if (!parsed.success) throw new ConfigurationError(`--file ${file}: ${explain(parsed.error, document)}`);
  const { spec } = parsed.data;
  const wanted = new Set(spec.jobs?.flatMap((job) => job.operations) ?? cleanupOperations);
  return {
    operations: cleanupOperations.filter((name) => wanted.has(name)),
    retention: effectiveRetention(spec),
    schema: schema ?? spec.database.schema,
    timestampTimeZone: spec.database.timestampTimeZone,
    dryRun: spec.dryRun,
    guard: spec.guard,
    limits: spec.limits,
    tlsMode: spec.database.tls?.mode,
  };
}

async function onlyPolicyIn(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch((cause) => {
    throw new ConfigurationError(`--file ${file} cannot be read: ${(cause as Error).message}`, { cause });
  });
  const documents = parseAllDocuments(text);
  const broken = [...documents].flatMap((document) => document.errors)[0];
  if (broken !== undefined)
    throw new ConfigurationError(`--file ${file} is not YAML: ${broken.message.split('\n')[0]}`);
  const policies = [...documents]
    .map((document) => contentOf(document, file) as { kind?: unknown } | null)
    .filter((document) => document?.kind === kind);
  if (policies.length !== 1) {
    throw new ConfigurationError(`--file ${file} must hold one ${kind}; it holds ${policies.length}`);
  }
  return policies[0];
}

/** What a document says; an alias without its anchor, or far too many of them, shows up only here. */
function contentOf(document: Document.Parsed, file: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    throw new ConfigurationError(`--file ${file} cannot be used: ${(cause as Error).message.split('\n')[0]}`, {
      cause,
    });
  }
}
