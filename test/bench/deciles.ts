/** One transaction that changed rows. */
export interface Batch {
  /** Operation, and what it did to rows, such as `instructions archived`. */
  kind: string;
  rows: number;
  seconds: number;
}

/** How fast the first, the sixth and the last tenth of the batches of one kind were; rows/s. */
export interface Flatness {
  kind: string;
  batches: number;
  first: number;
  middle: number;
  last: number;
}

/** With fewer batches a tenth is one or two, and tells nothing. */
const fewest = 40;

/** Rows/s of three tenths of the batches, kind by kind; kinds with too few are left out. */
export function decileRates(batches: readonly Batch[]): Flatness[] {
  const kinds = Map.groupBy(batches, ({ kind }) => kind);
  return [...kinds]
    .filter(([, ofKind]) => ofKind.length >= fewest)
    .map(([kind, ofKind]) => {
      const batches = ofKind.length;
      const length = Math.floor(batches / 10);
      const tenthAt = (from: number) => rate(ofKind.slice(from, from + length));
      return { kind, batches, first: tenthAt(0), middle: tenthAt(batches >> 1), last: tenthAt(batches - length) };
    });
}

function rate(batches: readonly Batch[]): number {
  const sum = (value: (batch: Batch) => number) => batches.reduce((total, batch) => total + value(batch), 0);
  return sum((batch) => batch.rows) / sum((batch) => batch.seconds);
}
