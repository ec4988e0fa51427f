import { expect, test } from 'vitest';
import { median, percentile, ratios, spread } from '../../bench/figures.ts';

test('a median is the middle value, or the mean of the two in the middle', () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([9, 1, 5, 2])).toBe(3.5);
  expect(() => median([])).toThrow('a median of no values');
});

test('a percentile is the smallest value that the share does not exceed', () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect([0, 0.5, 0.99, 1].map((share) => percentile(values, share))).toEqual([1, 50, 99, 100]);
  expect(percentile([7], 0.99)).toBe(7);
  expect(() => percentile([], 0.5)).toThrow('a percentile of no values');
});

test('numbers are compared as numbers', () => {
  expect(spread([10, 9, 100])).toEqual({ median: 10, min: 9, max: 100 });
});

test('ratios are taken round by round', () => {
  expect(ratios([2, 20, 6], [1, 10, 2])).toEqual({ median: 2, min: 2, max: 3 });
  expect(() => ratios([1], [])).toThrow('ratios of 1 and 0 rounds');
});
