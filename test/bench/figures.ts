/** Middle, smallest and largest of some measurements. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** The value that `share` (0 to 1) of the values do not exceed; of two neighbours the larger. Values in any order. */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new Error('a percentile of no values');
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))]!;
}

/** The middle value; between two middle ones their mean. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('a median of no values');
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** The spread of `one / other`, round by round: what slows the machine down for a while slows both. */
export function ratios(one: readonly number[], other: readonly number[]): Spread {
  if (one.length !== other.length) throw new Error(`ratios of ${one.length} and ${other.length} rounds`);
  return spread(one.map((value, round) => value / other[round]!));
}
