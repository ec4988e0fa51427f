import { z } from 'zod';

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** The form of a duration in the resource: Kubernetes' own (Go's), whole numbers with ms, s, m or h. */
const durationPattern = '^([0-9]{1,9}(ms|s|m|h))+$';

/** Milliseconds of a duration such as `2s`, `1h30m` or `250ms`; throws on any other form. */
export function milliseconds(duration: string): number {
  if (!new RegExp(durationPattern).test(duration)) {
    throw new Error(`"${duration}" is not a duration: write a number with ms, s, m or h, such as 2s or 1h30m`);
  }
  let total = 0;
  for (const [, amount, unit] of duration.matchAll(/([0-9]+)(ms|s|m|h)/g)) total += Number(amount) * units[unit!]!;
  return total;
}

/** A duration between two others, checked by the API server (CEL) and by the program alike. */
export function duration(min: string, max: string) {
  return z
    .string()
    .max(20)
    .regex(new RegExp(durationPattern))
    .refine((value) => !inForm(value) || inRange(value, min, max), `must be from ${min} to ${max}`)
    .meta({
      'x-kubernetes-validations': [
        {
          rule: `!self.matches('${durationPattern}') || (duration(self) >= duration('${min}') && duration(self) <= duration('${max}'))`,
          message: `must be from ${min} to ${max}`,
        },
      ],
    });
}
const inForm = (value: string) => new RegExp(durationPattern).test(value);
const inRange = (value: string, min: string, max: string) =>
  milliseconds(value) >= milliseconds(min) && milliseconds(value) <= milliseconds(max);
