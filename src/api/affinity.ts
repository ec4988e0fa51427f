import { z } from 'zod';

// The types of core/v1, so that the API server refuses what is no affinity. Their lists have no limits there; these leave
// room for any that people write by hand.
const maxTerms = 16;
const maxRequirements = 16;
const maxValues = 64;
/** A label's name with its prefix; a label's value, as long as a namespace's name. */
const key = z.string().min(1).max(317);
const value = z.string().max(63);
const values = z.array(value).max(maxValues).optional();

const nodeRequirement = z.strictObject({
  key,
  operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt']),
  values,
});
const nodeRequirements = z.array(nodeRequirement).max(maxRequirements).optional();
const nodeSelectorTerm = z.strictObject({ matchExpressions: nodeRequirements, matchFields: nodeRequirements });

const labelRequirement = z.strictObject({
  key,
  operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
  values,
});
const labelSelector = z
  .strictObject({
    matchLabels: z
      .record(z.string().max(317), value)
      .refine((labels) => Object.keys(labels).length <= maxRequirements, `must have at most ${maxRequirements} entries`)
      .meta({ maxProperties: maxRequirements })
      .optional(),
    matchExpressions: z.array(labelRequirement).max(maxRequirements).optional(),
  })
  .optional();
const labelKeys = z.array(key).max(maxRequirements).optional();
const podAffinityTerm = z.strictObject({
  labelSelector,
  namespaceSelector: labelSelector,
  namespaces: z.array(value).max(maxValues).optional(),
  topologyKey: key,
  matchLabelKeys: labelKeys,
  mismatchLabelKeys: labelKeys,
});

const weight = z.int().min(1).max(100).meta({ format: 'int32' });
const podAffinity = z
  .strictObject({
    requiredDuringSchedulingIgnoredDuringExecution: z.array(podAffinityTerm).max(maxTerms).optional(),
    preferredDuringSchedulingIgnoredDuringExecution: z
      .array(z.strictObject({ weight, podAffinityTerm }))
      .max(maxTerms)
      .optional(),
  })
  .optional();

/** An affinity as in a Pod: which nodes, and which other Pods, it is drawn to or kept from. */
export const affinitySchema = z.strictObject({
  nodeAffinity: z
    .strictObject({
      requiredDuringSchedulingIgnoredDuringExecution: z
        .strictObject({ nodeSelectorTerms: z.array(nodeSelectorTerm).max(maxTerms) })
        .optional(),
      preferredDuringSchedulingIgnoredDuringExecution: z
        .array(z.strictObject({ weight, preference: nodeSelectorTerm }))
        .max(maxTerms)
        .optional(),
    })
    .optional(),
  podAffinity,
  podAntiAffinity: podAffinity,
});
