import type { Command } from 'commander';
import { printable } from '../api/run-result.ts';
import { ConfigurationError } from '../database/config.ts';
import { addPolicyOptions, type PolicyOptions } from './policy-options.ts';

/** `retention grants`: SQL for the role that runs log in as. */
export function addGrantsCommand(program: Command): void {
  addPolicyOptions(program.command('grants'))
    .description('print the SQL that gives a role the least rights a run needs')
    .option('--role <name>', 'role that runs log in as', 'retention')
    .action(async (options: PolicyOptions & { role: string }) => {
      if (options.role === '') throw new ConfigurationError('--role must not be empty');
      const [{ grants }, { policyOf }] = await Promise.all([import('../retention/grants.ts'), import('./policy.ts')]);
      const policy = await policyOf({ ...program.opts<PolicyOptions>(), ...options });
      process.stdout.write(printable(grants(options.role, policy.schema, policy.retention, policy.limits)));
    });
}
