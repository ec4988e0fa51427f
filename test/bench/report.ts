import { cleanupOperations } from '../../src/api/spec.ts';
import type { Cleanup } from './contenders/contender.ts';
import { nameOf } from './data.ts';
import { median, spread } from './figures.ts';
import { type Goal, goalsOf } from './goals.ts';
import { markdownTable, megabytes, percent, short, whole, withSpread } from './markdown.ts';
import type { Results } from './results.ts';
import type { CleanupRound, CleanupRounds } from './scenarios/cleanup.ts';

const contenders = ['runner', 'bulk', 'plpgsql'] as const;

/** The whole report in markdown: machine, goals, and what was measured. */
export function report(results: Results): string {
  const sections = [
    results.machine.map((line) => `- ${line}`).join('\n'),
    goalTable(goalsOf(results)),
    ...results.cleanups.map(({ dataset, rounds }) => cleanupSection(nameOf(dataset), rounds)),
  ];
  return `${sections.join('\n\n')}\n`;
}

function goalTable(goals: readonly Goal[]): string {
  const lines = goals.map(({ what, wanted, measured, reached }) => [
    what,
    wanted,
    measured,
    reached ? 'reached' : 'missed',
  ]);
  return markdownTable([['', 'goal', 'measured', ''], ...lines]);
}

function cleanupSection(name: string, rounds: CleanupRounds): string {
  const count = rounds.runner.length;
  const title = `Full cleanup of ${name}: median (min–max) of ${count} rounds`;
  return [title, operationTable(rounds), costTable(rounds)].join('\n\n');
}

function operationTable(rounds: CleanupRounds): string {
  const line = (name: string, part: (round: Cleanup) => { rows: number; seconds: number }) => [
    name,
    whole(part(rounds.runner[0]!).rows),
    ...contenders.flatMap((contender) => {
      const seconds = rounds[contender].map((round) => part(round).seconds);
      return [withSpread(spread(seconds)), whole(part(rounds[contender][0]!).rows / median(seconds))];
    }),
  ];
  return markdownTable([
    ['', 'rows', ...contenders.flatMap((contender) => [`${contender}: s`, 'rows/s'])],
    ...cleanupOperations.map((name) => line(name, (round) => round.operations[name])),
    line('in all', total),
  ]);
}

const total = (round: Cleanup) => ({ rows: rowsOf(round), seconds: round.seconds });

/** Rows that a cleanup changed. */
function rowsOf(round: Cleanup): number {
  return cleanupOperations.reduce((sum, name) => sum + round.operations[name].rows, 0);
}

function costTable(rounds: CleanupRounds): string {
  const line = (name: string, format: (value: number) => string, of: (round: CleanupRound) => number | undefined) => [
    name,
    ...contenders.map((contender) => {
      const values = rounds[contender].map(of).filter((value) => value !== undefined);
      return values.length === 0 ? '–' : withSpread(spread(values), format);
    }),
  ];
  return markdownTable([
    ['', ...contenders],
    line('WAL', megabytes, (round) => round.walBytes),
    ...cleanupOperations.map((name) => line(`WAL of ${name}`, megabytes, (round) => round.operations[name].walBytes)),
    line('HOT share of updates of instructions', percent, (round) => round.hotUpdates / round.updates),
    line('the process, from start to end: s', short, (round) => round.processSeconds),
    line('peak memory of the process', megabytes, (round) => round.peakMemoryBytes),
  ]);
}
