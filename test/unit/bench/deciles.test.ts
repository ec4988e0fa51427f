import { expect, test } from 'vitest';
import { decileRates } from '../../bench/deciles.ts';

test('tenths of batches are compared kind by kind, by rows in their time', () => {
  const slowing = Array.from({ length: 40 }, (_, i) => ({ kind: 'sessions archived', rows: 100, seconds: 1 + i }));
  const few = Array.from({ length: 39 }, () => ({ kind: 'connections closed', rows: 100, seconds: 1 }));
  expect(decileRates([...few, ...slowing])).toEqual([
    { kind: 'sessions archived', batches: 40, first: 400 / 10, middle: 400 / 90, last: 400 / 154 },
  ]);
});
