import type { Command } from 'commander';
import { addDatabaseOptions, type DatabaseOptions } from './policy-options.ts';

type Options = DatabaseOptions & { apply?: boolean };

/** `retention indexes`: the indexes that runs lack on a database, printed as SQL or created. */
export function addIndexesCommand(program: Command): void {
  addDatabaseOptions(program.command('indexes'))
    .description('print the SQL for indexes with which runs would read much less')
    .option('--apply', 'create them, one after the other, as the owner of the tables')
    .action(async (options: Options) => {
      const { adviseOrApply } = await import('./index-advice.ts');
      process.exitCode = await adviseOrApply({ ...program.opts<Options>(), ...options });
    });
}
