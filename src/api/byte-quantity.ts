import { z } from 'zod';

const factors: Record<string, number> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};
const pattern = '^([0-9]{1,14})(k|M|G|T|Ki|Mi|Gi|Ti)?$';
const form = 'a whole number of bytes, or with k, M, G, T, Ki, Mi, Gi or Ti behind it, such as 256Mi or 1Gi';

/** Bytes of a Kubernetes quantity in whole numbers, such as `256Mi` or `1G`; throws on any other form. */
export function bytes(quantity: string): number {
  const [, amount, suffix] = new RegExp(pattern).exec(quantity) ?? [];
  if (amount === undefined) throw new Error(`"${quantity}" is not an amount of bytes: write ${form}`);
  return Number(amount) * factors[suffix ?? '']!;
}

/** An amount of bytes between two others, checked by the API server (CEL) and by the program alike. */
export function byteQuantity(min: string, max: string) {
  const inForm = (value: string) => new RegExp(pattern).test(value);
  const inRange = (value: string) => bytes(value) >= bytes(min) && bytes(value) <= bytes(max);
  return z
    .string()
    .max(20)
    .regex(new RegExp(pattern), `must be ${form}`)
    .refine((value) => !inForm(value) || inRange(value), `must be from ${min} to ${max}`)
    .meta({
      'x-kubernetes-validations': [
        {
          rule: `!self.matches('${pattern}') || (quantity(self).compareTo(quantity('${min}')) >= 0 && quantity(self).compareTo(quantity('${max}')) <= 0)`,
          message: `must be from ${min} to ${max}`,
        },
      ],
    });
}
