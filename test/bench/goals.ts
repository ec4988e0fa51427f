import { cleanupOperations } from '../../src/api/spec.ts';
import { type Cleanup, rowsOf } from './contenders/contender.ts';
import { type Dataset, nameOf } from './data.ts';
import { ratios, type Spread, spread } from './figures.ts';
import { type Request, requests } from './foreground-load.ts';
import { megabytes, short, whole, withSpread } from './markdown.ts';
import type { Results } from './results.ts';
import type { CleanupRounds } from './scenarios/cleanup.ts';
import type { Latencies } from './scenarios/foreground.ts';

/** One line of the goals' table. */
export interface Goal {
  what: string;
  wanted: string;
  measured: string;
  /** Undefined where it could not be measured. */
  reached?: boolean;
}

/** The goals that these results can speak of. */
export function goalsOf(results: Results): Goal[] {
  return [
    ...results.cleanups.flatMap(({ dataset, rounds }) => againstBulk(dataset, rounds)),
    ...flatness(results.flat),
    ...growth(results.cleanups),
    ...nothingDue(results.nothingDue),
    ...foreground(results.foreground),
    ...memory(results.cleanups),
    ...start(results.start),
  ];
}

const atLeast = (what: string, least: number, measured: Spread): Goal => ({
  what,
  wanted: `≥ ${least}`,
  measured: withSpread(measured),
  reached: measured.median >= least,
});

const atMost = (what: string, most: number, measured: Spread, format: (value: number) => string): Goal => ({
  what,
  wanted: `≤ ${format(most)}`,
  measured: withSpread(measured, format),
  reached: measured.median <= most,
});

/** The same rows on both sides, so rows/s ÷ rows/s is seconds the other way round. */
function againstBulk(dataset: Dataset, { runner, bulk }: CleanupRounds): Goal[] {
  const ratio = (seconds: (round: Cleanup) => number) => ratios(bulk.map(seconds), runner.map(seconds));
  const name = nameOf(dataset);
  return [
    atLeast(
      `${name}: full cleanup ÷ bulk SQL`,
      dataset.shuffled ? 1.2 : 1.5,
      ratio((round) => round.seconds),
    ),
    ...cleanupOperations.map((operation) =>
      atLeast(
        `${name}: ${operation} ÷ bulk SQL`,
        operation === 'instructions' ? 2 : 0.7,
        ratio((round) => round.operations[operation].seconds),
      ),
    ),
  ];
}

/** Rows/s of the runner's full cleanup at one size ÷ at the size before. */
function growth(cleanups: Results['cleanups']): Goal[] {
  const rate = (round: Cleanup) => rowsOf(round) / round.seconds;
  const inOrder = cleanups.filter(({ dataset }) => !dataset.shuffled);
  return inOrder.slice(1).map((larger, index) => {
    const smaller = inOrder[index]!;
    return atLeast(
      `runner's rows/s at ${larger.dataset.size} ÷ at ${smaller.dataset.size}`,
      0.9,
      ratios(larger.rounds.runner.map(rate), smaller.rounds.runner.map(rate)),
    );
  });
}

/** Kind by kind of batches; without any, nothing was shown to be flat. */
function flatness(flat: Results['flat']): Goal[] {
  if (flat === undefined) return [];
  const name = nameOf(flat.dataset);
  const kinds = Map.groupBy(flat.rounds.flat(), ({ kind }) => kind);
  if (kinds.size === 0) {
    const measured = 'no operation had enough batches';
    return [{ what: `${name}: last tenth of batches ÷ first, old snapshot open`, wanted: '≥ 0.9', measured }];
  }
  return [...kinds].map(([kind, rounds]) =>
    atLeast(
      `${name}: last tenth of batches ÷ first, old snapshot open: ${kind}`,
      0.9,
      spread(rounds.map(({ first, last }) => last / first)),
    ),
  );
}

function nothingDue(results: Results['nothingDue']): Goal[] {
  const advised = results?.variants.find(({ advisedIndexes }) => advisedIndexes);
  if (results === undefined || advised === undefined) return [];
  const what = `SQL of a run with nothing due, ${whole(results.instructions)} archived instructions, advised indexes`;
  return [atMost(what, 0.8, spread(advised.runs.map(({ seconds }) => seconds)), (value) => `${short(value)} s`)];
}

function foreground(results: Results['foreground']): Goal[] {
  if (results === undefined) return [];
  const name = nameOf(results.dataset);
  const p99 = (window: Latencies, request: Request) => window.requests[request].p99;
  const ratioOf = (request: Request) =>
    spread(results.pairs.map((pair) => p99(pair.with, request) / p99(pair.without, request)));
  const errors = results.pairs
    .flatMap((pair) => [pair.without, pair.with])
    .flatMap((window) => Object.values(window.errors))
    .reduce((sum, count) => sum + count, 0);
  return [
    ...requests.map((request) =>
      atMost(`${name}: p99 with the runner ÷ without: ${request}`, 1.25, ratioOf(request), short),
    ),
    {
      what: `${name}: errors of the foreground's requests`,
      wanted: '0',
      measured: String(errors),
      reached: errors === 0,
    },
  ];
}

/** Of every run: the largest one counts. */
function memory(cleanups: Results['cleanups']): Goal[] {
  const most = 100e6;
  return cleanups.flatMap(({ dataset, rounds }) => {
    const peaks = rounds.runner.flatMap(({ peakMemoryBytes }) => peakMemoryBytes ?? []);
    if (peaks.length === 0) return [];
    const measured = spread(peaks);
    const goal = atMost(`${nameOf(dataset)}: peak memory of the runner`, most, measured, megabytes);
    return { ...goal, reached: measured.max <= most };
  });
}

function start(starts: Results['start']): Goal[] {
  if (starts === undefined) return [];
  const measured = spread(starts.map(({ firstSqlSeconds }) => 1000 * firstSqlSeconds));
  return [atMost('process start to first SQL', 150, measured, (value) => `${whole(value)} ms`)];
}
