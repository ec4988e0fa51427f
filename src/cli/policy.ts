import { presetRetention } from '../api/effective.ts';
import { cleanupOperations, guardSchema, limitsSchema } from '../api/spec.ts';
import { ConfigurationError, type TlsMode } from '../database/config.ts';
import type { RunOptions } from '../retention/options.ts';
import { type PolicyOptions, presetOptions } from './policy-options.ts';

/** A policy as the command line applies it. */
export type CommandLinePolicy = Pick<
  RunOptions,
  'operations' | 'retention' | 'schema' | 'timestampTimeZone' | 'dryRun' | 'guard' | 'limits'
> & {
  tlsMode?: TlsMode;
  /** Why the cluster starts no run of it, such as `it is suspended until spec.suspend is false again`. */
  runsNothing?: string;
};

/** The policy that the options name: a preset, or a file with the very rules that the API server applies. */
export async function policyOf(options: PolicyOptions): Promise<CommandLinePolicy> {
  if (options.policy !== undefined && options.file !== undefined) {
    throw new ConfigurationError('--policy and --file both say which policy applies: give one of them');
  }
  if (options.schema === '') throw new ConfigurationError('--schema must not be empty');
  if (options.file !== undefined) {
    const { policyFromFile } = await import('./policy-file.ts');
    return policyFromFile(options.file, options.schema);
  }
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
