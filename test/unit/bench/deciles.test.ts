import { expect, test } from 'vitest';
import { decileRates } from '../../bench/deciles.ts';

test('tenths of batches are compared kind by kind, by rows in their time', () => {
  const slowing = Array.from({ length: 20 }, (_, i) => ({ kind: 'sessions archived', rows: 100, seconds: 1 + i }));
  const few = Array.from({ length: 19 }, () => ({ kind: 'connections closed', rows: 100, seconds: 1 }));
  expect(decileRates([...few, ...slowing])).toEqual([
    { kind: 'sessions archived', batches: 20, first: 200 / 3, middle: 200 / 23, last: 200 / 39 },
  ]);
});
