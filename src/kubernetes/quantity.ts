const factors: Record<string, bigint> = {
  n: 1n,
  u: 10n ** 3n,
  m: 10n ** 6n,
  '': 10n ** 9n,
  k: 10n ** 12n,
  M: 10n ** 15n,
  G: 10n ** 18n,
  T: 10n ** 21n,
  P: 10n ** 24n,
  E: 10n ** 27n,
  Ki: 10n ** 9n * 2n ** 10n,
  Mi: 10n ** 9n * 2n ** 20n,
  Gi: 10n ** 9n * 2n ** 30n,
  Ti: 10n ** 9n * 2n ** 40n,
  Pi: 10n ** 9n * 2n ** 50n,
  Ei: 10n ** 9n * 2n ** 60n,
};

/** True when two Kubernetes quantities have the same value: `"1000m"` and `1`, `"1Gi"` and `"1024Mi"`. */
export function sameQuantity(one: unknown, other: unknown): boolean {
  const [left, right] = [parse(one), parse(other)];
  return left !== undefined && right !== undefined && left.value * right.divisor === right.value * left.divisor;
}

/** The value in billionths (the finest unit), as a fraction; undefined for what is no quantity. */
function parse(quantity: unknown): { value: bigint; divisor: bigint } | undefined {
  const match = /^([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i)?)$/.exec(String(quantity));
  if (!match) return undefined;
  const [, sign, whole = '', decimals = '', exponent = '0', suffix = ''] = match;
  if (whole + decimals === '') return undefined;
  const power = BigInt(exponent);
  const digits = BigInt(whole + decimals) * factors[suffix]! * (power > 0n ? 10n ** power : 1n);
  const divisor = 10n ** BigInt(decimals.length) * (power < 0n ? 10n ** -power : 1n);
  return { value: sign === '-' ? -digits : digits, divisor };
}
