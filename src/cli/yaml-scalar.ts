/** A scalar as kubectl reads it; `float` is told from `int` because a key may be the one and not the other. */
export interface Scalar {
  type: 'null' | 'bool' | 'int' | 'float' | 'str';
  value: null | boolean | number | string;
}

// What kubectl's YAML library (go-yaml 2: neither YAML 1.1 nor 1.2) takes for more than text.
const words = new Map<string, Scalar>();
for (const text of ['', '~', 'null', 'Null', 'NULL']) words.set(text, { type: 'null', value: null });
for (const [value, texts] of [
  [true, ['y', 'Y', 'yes', 'Yes', 'YES', 'true', 'True', 'TRUE', 'on', 'On', 'ON']],
  [false, ['n', 'N', 'no', 'No', 'NO', 'false', 'False', 'FALSE', 'off', 'Off', 'OFF']],
] as const) {
  for (const text of texts) words.set(text, { type: 'bool', value });
}

const integerPattern = /^([-+]?)(?:(0[bB][01]+)|(0[oO][0-7]+)|(0[xX][0-9a-fA-F]+)|0([0-7]*)|([1-9][0-9]*))$/;
const floatPattern = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;
const notFinite = /^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/;

/** A scalar without quotes and without a tag: `0365` is 245, `1_000` is 1000, `yes` is true. Throws on .inf and .nan. */
export function plainScalar(text: string): Scalar {
  const word = words.get(text);
  if (word !== undefined) return word;
  // JSON, which kubectl makes of it, has no such numbers.
  if (notFinite.test(text)) throw new Error(`${text} is no number that the API server takes`);
  if (!/^[-+.0-9]/.test(text)) return { type: 'str', value: text };
  const digits = text.replaceAll(text.startsWith('.') ? /(?<=[0-9])_(?=[0-9])/g : '_', '');
  const integer = integerIn(digits);
  if (integer !== undefined) return { type: 'int', value: integer };
  const float = floatPattern.test(digits) ? Number(digits) : Number.POSITIVE_INFINITY;
  // Adding 0 makes 0 of -0.
  return Number.isFinite(float) ? { type: 'float', value: float + 0 } : { type: 'str', value: text };
}

function integerIn(digits: string): number | undefined {
  // go-yaml takes the sign of a binary number on either side of its prefix.
  const match = integerPattern.exec(digits.replace(/^0b([-+])/, '$10b'));
  if (match === null) return undefined;
  const [, sign, binary, octal, hex, leadingZero, decimal] = match;
  const amount = BigInt(binary ?? octal ?? hex ?? decimal ?? `0o${leadingZero || '0'}`);
  const value = sign === '-' ? -amount : amount;
  const max = sign === '' ? 2n ** 64n - 1n : 2n ** 63n - 1n;
  return value >= -(2n ** 63n) && value <= max ? Number(value) : undefined;
}

const tagPrefix = 'tag:yaml.org,2002:';

/** A scalar with a tag, quoted or not. Throws where the tag does not fit. */
export function taggedScalar(tag: string, text: string): Scalar {
  const name = tag.startsWith(tagPrefix) ? tag.slice(tagPrefix.length) : undefined;
  switch (name) {
    case 'null':
    case 'bool':
    case 'int':
    case 'float': {
      const scalar = plainScalar(text);
      if (scalar.type === name) return scalar;
      if (scalar.type === 'int' && name === 'float') return { type: 'float', value: scalar.value };
      throw new Error(`${JSON.stringify(text)} is no !!${name}`);
    }
    case 'binary':
    case 'timestamp':
      throw new Error(`!!${name} is not supported: write ${JSON.stringify(text)} without it`);
    default:
      return { type: 'str', value: text };
  }
}
