#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { badInputExitCode, printable } from './api/run-result.ts';
import { addControllerCommand } from './cli/controller.ts';
import { addGrantsCommand } from './cli/grants.ts';
import { addIndexesCommand } from './cli/indexes.ts';
import { addOperationCommands } from './cli/operations.ts';
import { addRunCommand } from './cli/run.ts';
import { ConfigurationError } from './database/config.ts';

// Whoever reads the output may have read enough (`retention stats | head -1`): that fails nothing.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

const program = new Command('retention')
  .description('Keeps the evidence of instrument agents in PostgreSQL, and gets rid of the rest.')
  .exitOverride()
  .enablePositionalOptions()
  .allowExcessArguments(false)
  .configureHelp({ showGlobalOptions: false });
addOperationCommands(program);
addGrantsCommand(program);
addIndexesCommand(program);
addRunCommand(program);
addControllerCommand(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version end with 0; commander has said what is wrong with the rest.
    process.exitCode = error.exitCode === 0 ? 0 : badInputExitCode;
  } else {
    process.stderr.write(`error: ${printable((error as Error).message)}\n`);
    process.exitCode = error instanceof ConfigurationError ? badInputExitCode : 1;
  }
}
