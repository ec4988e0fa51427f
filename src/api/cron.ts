import { z } from 'zod';

// The grammar of robfig/cron's ParseStandard, by which Kubernetes reads a CronJob's schedule, as far as a regular expression
// can tell: all but a range whose end is before its start. It refuses nothing that Kubernetes takes, but for a field of commas
// alone, which means never.
const space = '[\\t\\n\\v\\f\\r\\u0085\\p{Z}]';
const anyCase = (names: string) =>
  names.split(' ').map((name) => [...name].map((letter) => `[${letter.toUpperCase()}${letter}]`).join(''));
const months = anyCase('jan feb mar apr may jun jul aug sep oct nov dec');
const weekdays = anyCase('sun mon tue wed thu fri sat');

/** A field whose numbers these alternatives describe, without leading zeros; names stand beside them. */
function field(numbers: string, names: string[] = []): string {
  const value = `(${[`\\+?0*(${numbers})`, ...names].join('|')})`;
  // What follows a star and a hyphen is not looked at.
  const part = `([*?](-[^,/\\t\\n\\v\\f\\r\\u0085\\p{Z}]*)?|${value}(-${value})?)(/\\+?0*[1-9][0-9]{0,18})?`;
  return `,*(${part},+)*${part},*`;
}

const fields = [
  field('[1-5]?[0-9]'),
  field('1?[0-9]|2[0-3]'),
  field('[1-9]|[12][0-9]|3[01]'),
  field('[1-9]|1[0-2]', months),
  field('[0-6]', weekdays),
].join(`${space}+`);
const pattern = `^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|${space}*${fields}${space}*)$`;

/** The pattern as RE2 writes it, in a CEL string whose backslashes mean themselves. */
const re2 = `r'${pattern.replaceAll(/\\u([0-9a-f]{4})/g, '\\x{$1}')}'`;
const expression = new RegExp(pattern, 'u');

const rules = [
  {
    rule: "!self.startsWith('@every')",
    message: '@every has no fixed times: write a cron expression of five fields, such as "*/15 * * * *"',
    holds: (value: string) => !value.startsWith('@every'),
  },
  {
    rule: "!self.contains('TZ')",
    message: 'the time zone belongs into spec.timeZone, not into the schedule',
    holds: (value: string) => !value.includes('TZ'),
  },
  {
    rule: `self.startsWith('@every') || self.contains('TZ') || self.matches(${re2})`,
    message:
      'must be a cron expression of five fields, such as "17 3 * * *": minute (0-59), hour (0-23), day of the month (1-31), month (1-12 or jan-dec), weekday (0-6 or sun-sat); or one of @hourly, @daily, @weekly, @monthly and @yearly',
    holds: (value: string) => value.startsWith('@every') || value.includes('TZ') || expression.test(value),
  },
];

/** A cron expression, checked by the API server (CEL) and by the program alike. */
export const cron = rules
  .reduce((schema, { holds, message }) => schema.refine(holds, message), z.string().min(1).max(100))
  .meta({ 'x-kubernetes-validations': rules.map(({ rule, message }) => ({ rule, message })) });
