import { expect, test } from 'vitest';
import { markdownTable, megabytes, percent, short, whole, withSpread } from '../../bench/markdown.ts';

test('a table has a head, a rule and a line per row', () => {
  expect(
    markdownTable([
      ['operation', 'rows', 's'],
      ['sessions', '698', '0.05'],
    ]),
  ).toBe('| operation | rows | s |\n|---|---:|---:|\n| sessions | 698 | 0.05 |');
  expect(() => markdownTable([])).toThrow('a table without a head');
});

test('numbers have three significant digits, and all before the point', () => {
  expect([0, 0.01234, 0.5, 1.234, 12.34, 123.4, 12345.6].map(short)).toEqual([
    '0',
    '0.0123',
    '0.500',
    '1.23',
    '12.3',
    '123',
    '12,346',
  ]);
  expect(whole(1234567.8)).toBe('1,234,568');
});

test('a spread shows the median, and the range in brackets', () => {
  expect(withSpread({ median: 2, min: 1, max: 3 })).toBe('2.00 (1.00–3.00)');
  expect(withSpread({ median: 2e6, min: 1e6, max: 30e6 }, megabytes)).toBe('2.00 MB (1.00 MB–30.0 MB)');
  expect(percent(0.884)).toBe('88 %');
});
