import { expect, test } from 'vitest';
import { bytes } from '../../../src/api/byte-quantity.ts';

test.each([
  ['0', 0],
  ['1048576', 1_048_576],
  ['1k', 1_000],
  ['256M', 256_000_000],
  ['2G', 2_000_000_000],
  ['1T', 1_000_000_000_000],
  ['1Ki', 1_024],
  ['256Mi', 268_435_456],
  ['1Gi', 1_073_741_824],
  ['16Ti', 17_592_186_044_416],
])('%s is %i bytes', (quantity, amount) => {
  expect(bytes(quantity)).toBe(amount);
});

test.each([
  '',
  'Mi',
  '1.5Gi',
  '-1Gi',
  '+1Gi',
  '1e9',
  '500m',
  '1GB',
  '1gi',
  '1 Gi',
  ' 1Gi',
  '1Gi\n',
  '1Pi',
  '9'.repeat(15),
])('%j is refused with what is allowed', (quantity) => {
  expect(() => bytes(quantity)).toThrow(
    /is not an amount of bytes: write a whole number of bytes, or with k, M, .*256Mi/,
  );
});
