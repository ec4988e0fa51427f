import type { Spread } from './figures.ts';

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** A markdown table; the first row is its head, the first column is text, the others are numbers. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const [head, ...body] = rows;
  if (head === undefined) throw new Error('a table without a head');
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, column) => (column === 0 ? '---' : '---:'));
  return [line(head), `|${rule.join('|')}|`, ...body.map(line)].join('\n');
}

/** A whole number with separators, `12,345`. */
export function whole(value: number): string {
  return grouped.format(value);
}

/** Three significant digits, and no fewer before the point: `0.0123`, `1.23`, `1,234`. */
export function short(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return digits === 0 ? whole(value) : value.toFixed(digits);
}

/** Median, and in brackets the smallest and the largest value. */
export function withSpread({ median, min, max }: Spread, format: (value: number) => string = short): string {
  return `${format(median)} (${format(min)}–${format(max)})`;
}

export function megabytes(bytes: number): string {
  return `${short(bytes / 1e6)} MB`;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}
