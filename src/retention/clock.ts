import type pg from 'pg';
import { milliseconds } from '../api/duration.ts';
import { guardDefaults } from '../api/spec.ts';
import { readClock } from './cutoff.ts';
import type { Violation } from './guard.ts';
import type { RunOptions } from './options.ts';

/** The run's instant, and what speaks against it. */
export interface Clock {
  /** `YYYY-MM-DDTHH:MM:SS.ffffffZ`. */
  instant: string;
  /** False for a test's own instant, which no row has to agree with. */
  fromDatabase: boolean;
  violation: Violation | undefined;
}

/**
 * Reads the database's clock, from which all cutoffs come, and compares it with the run's own: with one of them wrong by
 * months, rows would be due that are not.
 */
export async function lookAtClock(
  client: pg.Client,
  { instant, now, guard }: Pick<RunOptions, 'instant' | 'now' | 'guard'>,
): Promise<Clock> {
  if (instant !== undefined) return { instant, fromDatabase: false, violation: undefined };
  const before = now();
  const read = await readClock(client);
  const after = now();
  const database = Date.parse(read);
  // What the answer took is no difference.
  const ahead = Math.max(0, database - after.getTime());
  const behind = Math.max(0, before.getTime() - database);
  const { maxClockDifference = guardDefaults.maxClockDifference } = guard;
  if (ahead + behind <= milliseconds(maxClockDifference)) {
    return { instant: read, fromDatabase: true, violation: undefined };
  }
  const difference = `${inWords(ahead + behind)} ${ahead > 0 ? 'ahead of' : 'behind'}`;
  const violation = {
    why: `the database's clock (${read}) is ${difference} the run's own (${after.toISOString()}), more than guard.maxClockDifference ${maxClockDifference}: rows would be due at the wrong time`,
    remedy:
      "Correct the clock of the database's server, or of the machine that the run is on, whichever is wrong; or raise guard.maxClockDifference",
  };
  return { instant: read, fromDatabase: true, violation };
}

const units: [name: string, ms: number][] = [
  ['days', 86_400_000],
  ['hours', 3_600_000],
  ['minutes', 60_000],
];

/** A length of time in its largest unit of which there are two. */
export function inWords(ms: number): string {
  const [name, unit] = units.find(([, size]) => ms >= 2 * size) ?? ['seconds', 1_000];
  return `${Math.round(ms / unit)} ${name}`;
}
