import { cleanupOperations } from '../../src/api/spec.ts';
import type { Cleanup } from './contenders/contender.ts';
import { type Dataset, nameOf } from './data.ts';
import { ratios, type Spread, spread } from './figures.ts';
import { megabytes, short, withSpread } from './markdown.ts';
import type { Results } from './results.ts';
import type { CleanupRounds } from './scenarios/cleanup.ts';

/** One line of the goals' table. */
export interface Goal {
  what: string;
  wanted: string;
  measured: string;
  reached: boolean;
}

/** The goals that these results can speak of. */
export function goalsOf(results: Results): Goal[] {
  return [
    ...results.cleanups.flatMap(({ dataset, rounds }) => againstBulk(dataset, rounds)),
    ...growth(results.cleanups),
    ...memory(results.cleanups),
  ];
}

const bySpread = (what: string, least: number, measured: Spread): Goal => ({
  what,
  wanted: `≥ ${least}`,
  measured: withSpread(measured),
  reached: measured.median >= least,
});

/** The same rows on both sides, so rows/s ÷ rows/s is seconds the other way round. */
function againstBulk(dataset: Dataset, { runner, bulk }: CleanupRounds): Goal[] {
  const ratio = (seconds: (round: Cleanup) => number) => ratios(bulk.map(seconds), runner.map(seconds));
  const name = nameOf(dataset);
  return [
    bySpread(
      `${name}: full cleanup ÷ bulk SQL`,
      dataset.shuffled ? 1.2 : 1.5,
      ratio((round) => round.seconds),
    ),
    ...cleanupOperations.map((operation) =>
      bySpread(
        `${name}: ${operation} ÷ bulk SQL`,
        operation === 'instructions' ? 2 : 0.7,
        ratio((round) => round.operations[operation].seconds),
      ),
    ),
  ];
}

/** Rows/s of the runner's full cleanup at one size ÷ at the size before. */
function growth(cleanups: Results['cleanups']): Goal[] {
  const inOrder = cleanups.filter(({ dataset }) => !dataset.shuffled);
  return inOrder.slice(1).map((larger, index) => {
    const smaller = inOrder[index]!;
    return bySpread(
      `runner's rows/s at ${larger.dataset.size} ÷ at ${smaller.dataset.size}`,
      0.9,
      ratios(larger.rounds.runner.map(rate), smaller.rounds.runner.map(rate)),
    );
  });
}

function rate(round: Cleanup): number {
  const rows = cleanupOperations.reduce((sum, name) => sum + round.operations[name].rows, 0);
  return rows / round.seconds;
}

function memory(cleanups: Results['cleanups']): Goal[] {
  const most = 100e6;
  return cleanups.flatMap(({ dataset, rounds }) => {
    const peaks = rounds.runner.flatMap(({ peakMemoryBytes }) => peakMemoryBytes ?? []);
    if (peaks.length === 0) return [];
    const measured = spread(peaks);
    return {
      what: `${nameOf(dataset)}: peak memory of the runner`,
      wanted: `≤ ${short(most / 1e6)} MB`,
      measured: withSpread(measured, megabytes),
      reached: measured.max <= most,
    };
  });
}
