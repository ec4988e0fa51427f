import { effectiveRetention } from './effective.ts';
import { presetNames, presets } from './presets.ts';
import { type SpecFields, specFields } from './spec.ts';

/** A rule that spans fields: CEL for the API server, the same in TypeScript for the program. */
interface Rule {
  rule: string;
  message: string;
  holds(spec: SpecFields): boolean;
}

/** CEL for a retention period in force: the override, or the preset's constant; `spec` is CEL for the spec. */
export function effectiveCel(
  field: 'acknowledgementRetentionDays' | 'instructionRetentionDays',
  spec = 'self',
): string {
  const preset = presetNames
    .slice(1)
    .map((name) => `${spec}.preset == '${name}' ? ${presets[name][field]} : `)
    .join('');
  return `(has(${spec}.retention) && has(${spec}.retention.${field}) ? ${spec}.retention.${field} : ${preset}${presets[presetNames[0]][field]})`;
}

/** Rules over the whole spec, checked on effective values. */
const specRules: readonly Rule[] = [
  {
    // An instruction whose acknowledgements have gone would be deleted instead of archived.
    rule: `${effectiveCel('acknowledgementRetentionDays')} >= ${effectiveCel('instructionRetentionDays')}`,
    message:
      'acknowledgementRetentionDays must not be less than instructionRetentionDays (a preset counts where a field is not given): an instruction whose acknowledgements have gone would be deleted instead of archived',
    holds(spec) {
      const values = effectiveRetention(spec);
      return values.acknowledgementRetentionDays >= values.instructionRetentionDays;
    },
  },
];

/** The whole spec: its fields, and the rules that span them. */
export const specSchema = specFields
  .superRefine((spec, context) => {
    for (const rule of specRules) {
      if (!rule.holds(spec)) context.addIssue({ code: 'custom', path: ['retention'], message: rule.message });
    }
  })
  .meta({ 'x-kubernetes-validations': specRules.map(({ rule, message }) => ({ rule, message })) });
export type RetentionPolicySpec = SpecFields;
