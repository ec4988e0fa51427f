import { cleanupOperations } from '../../src/api/spec.ts';
import { type Cleanup, rowsOf } from './contenders/contender.ts';
import { nameOf } from './data.ts';
import { median, spread } from './figures.ts';
import { type Request, requests } from './foreground-load.ts';
import { type Goal, goalsOf } from './goals.ts';
import { markdownTable, megabytes, percent, short, whole, withSpread } from './markdown.ts';
import type { Results } from './results.ts';
import type { CleanupRound, CleanupRounds } from './scenarios/cleanup.ts';
import type { Start } from './scenarios/start.ts';

const contenders = ['runner', 'bulk', 'plpgsql'] as const;

/** The whole report in markdown: machine, goals, and what was measured. */
export function report(results: Results): string {
  const sections = [
    results.machine.map((line) => `- ${line}`).join('\n'),
    goalTable(goalsOf(results)),
    ...results.cleanups.map(({ dataset, rounds }) => cleanupSection(nameOf(dataset), rounds)),
    ...(results.flat === undefined ? [] : [flatSection(results.flat)]),
    ...(results.nothingDue === undefined ? [] : [nothingDueSection(results.nothingDue)]),
    ...(results.foreground === undefined ? [] : [foregroundSection(results.foreground)]),
    ...(results.start === undefined ? [] : [startSection(results.start)]),
  ];
  return `${sections.join('\n\n')}\n`;
}

function goalTable(goals: readonly Goal[]): string {
  const lines = goals.map(({ what, wanted, measured, reached }) => [
    what,
    wanted,
    measured,
    reached === undefined ? 'not measured' : reached ? 'reached' : 'missed',
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

function flatSection({ dataset, rounds }: NonNullable<Results['flat']>): string {
  const title = `Batches of ${nameOf(dataset)} while another session holds an old snapshot, rows/s: median (min–max) of ${rounds.length} rounds`;
  const kinds = [...Map.groupBy(rounds.flat(), ({ kind }) => kind)];
  if (kinds.length === 0) return `${title}: no operation had enough batches`;
  const lines = kinds.map(([kind, each]) => [
    kind,
    withSpread(spread(each.map(({ batches }) => batches)), whole),
    withSpread(spread(each.map(({ first }) => first)), whole),
    withSpread(spread(each.map(({ middle }) => middle)), whole),
    withSpread(spread(each.map(({ last }) => last)), whole),
  ]);
  return [title, markdownTable([['', 'batches', 'first tenth', 'sixth tenth', 'last tenth'], ...lines])].join('\n\n');
}

function nothingDueSection({ instructions, variants }: NonNullable<Results['nothingDue']>): string {
  const title = `A run with nothing due, ${whole(instructions)} archived and acknowledged instructions: median (min–max) of ${variants[0]!.runs.length} runs`;
  const lines = variants.map(({ advisedIndexes, runs }) => [
    advisedIndexes ? 'with advised indexes' : 'without advised indexes',
    withSpread(spread(runs.map(({ seconds }) => seconds))),
    withSpread(spread(runs.map(({ roundTrips }) => roundTrips)), whole),
    withSpread(spread(runs.map(({ processSeconds }) => processSeconds))),
  ]);
  const head = ['', 'SQL: s', 'round trips', 'the process, from start to end: s'];
  return [title, markdownTable([head, ...lines])].join('\n\n');
}

function foregroundSection({ dataset, pairs }: NonNullable<Results['foreground']>): string {
  const title = `A client's requests while ${nameOf(dataset)} is cleaned up, milliseconds: median (min–max) of ${pairs.length} windows each`;
  const cell = (window: 'with' | 'without', request: Request, value: 'p50' | 'p99') =>
    withSpread(spread(pairs.map((pair) => pair[window].requests[request][value])));
  const lines = requests.map((request) => [
    request,
    cell('without', request, 'p50'),
    cell('with', request, 'p50'),
    cell('without', request, 'p99'),
    cell('with', request, 'p99'),
  ]);
  const head = ['', 'p50 without', 'p50 with the runner', 'p99 without', 'p99 with the runner'];
  return [title, markdownTable([head, ...lines])].join('\n\n');
}

function startSection(starts: readonly Start[]): string {
  const title = `A run against empty tables: median (min–max) of ${starts.length} runs`;
  const peaks = starts.flatMap(({ peakMemoryBytes }) => peakMemoryBytes ?? []);
  const line = [
    withSpread(spread(starts.map(({ firstSqlSeconds }) => firstSqlSeconds))),
    withSpread(spread(starts.map(({ processSeconds }) => processSeconds))),
    peaks.length === 0 ? '–' : withSpread(spread(peaks), megabytes),
  ];
  const head = ['', 'to the first SQL: s', 'to the end: s', 'peak memory'];
  return [title, markdownTable([head, ['the process', ...line]])].join('\n\n');
}
