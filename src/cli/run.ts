import type { Command } from 'commander';

/** `retention run`: one job of one policy, as a runner Pod is asked to by its environment. */
export function addRunCommand(program: Command): void {
  program
    .command('run', { hidden: true })
    .description('run one job of a policy; started by the controller')
    .action(async () => {
      const { runnerProcess } = await import('./runner-process.ts');
      process.exitCode = await runnerProcess(process.env);
    });
}
