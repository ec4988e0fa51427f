import { z } from 'zod';
import { affinitySchema } from './affinity.ts';

/** A map of at most `max` entries, checked by the API server and by the program alike. */
function map<T extends z.ZodType>(value: T, { key, max }: { key: number; max: number }) {
  return z
    .record(z.string().max(key), value)
    .refine((entries) => Object.keys(entries).length <= max, `must have at most ${max} entries`)
    .meta({ maxProperties: max });
}

// The form that controller-gen writes for a resource.Quantity.
const quantityPattern =
  '^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$';
const quantity = z
  .union([z.int(), z.string().max(30).regex(new RegExp(quantityPattern))])
  .meta({ 'x-kubernetes-int-or-string': true, pattern: quantityPattern })
  .describe('A quantity, such as 500m or 256Mi.');
const quantities = map(quantity, { key: 63, max: 10 });
const labelLike = map(z.string().max(63), { key: 317, max: 32 });

const maxAffinityLength = 16_384;

const tolerationSchema = z.strictObject({
  key: z.string().max(317).optional(),
  operator: z.enum(['Exists', 'Equal', 'Lt', 'Gt']).optional(),
  value: z.string().max(63).optional(),
  effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional(),
  tolerationSeconds: z.int().min(0).max(2_147_483_647).optional().meta({ format: 'int64' }),
});

const id = z.int().min(0).max(2_147_483_647).meta({ format: 'int64' });
const podSecurityContextSchema = z.strictObject({
  runAsUser: id.optional(),
  runAsGroup: id.optional(),
  runAsNonRoot: z.boolean().optional(),
  fsGroup: id.optional(),
  fsGroupChangePolicy: z.enum(['OnRootMismatch', 'Always']).optional(),
  supplementalGroups: z.array(id).max(32).optional(),
  seLinuxOptions: z
    .strictObject({
      user: z.string().max(100).optional(),
      role: z.string().max(100).optional(),
      type: z.string().max(100).optional(),
      level: z.string().max(100).optional(),
    })
    .optional(),
  seccompProfile: z
    .strictObject({
      type: z.enum(['RuntimeDefault', 'Localhost', 'Unconfined']),
      localhostProfile: z.string().max(255).optional(),
    })
    .optional(),
});

/** `spec.runner`: never image, command, env, volumes or service account (see SECURITY.md). */
export const runnerSchema = z.strictObject({
  labels: labelLike.optional().describe('Labels added to the Pods.'),
  annotations: map(z.string().max(4096), { key: 317, max: 32 }).optional().describe('Annotations added to the Pods.'),
  resources: z
    .strictObject({ limits: quantities.optional(), requests: quantities.optional() })
    .optional()
    .describe('CPU and memory of the runner.'),
  nodeSelector: labelLike.optional().describe('Labels that a node must have.'),
  tolerations: z.array(tolerationSchema).max(32).optional().describe('Taints that the Pods tolerate.'),
  affinity: affinitySchema
    // What all of it may have together no schema can say: only the controller does, as Stalled.
    .refine(
      (affinity) => JSON.stringify(affinity).length <= maxAffinityLength,
      `must be at most ${maxAffinityLength} characters of JSON`,
    )
    .optional()
    .describe('Affinity of the Pods, as in a Pod. At most 16384 characters of JSON.'),
  priorityClassName: z.string().max(253).optional().describe('Priority class of the Pods.'),
  imagePullSecrets: z
    .array(z.strictObject({ name: z.string().min(1).max(253) }))
    .max(16)
    .optional()
    .describe('Secrets with which the image is pulled.'),
  runtimeClassName: z.string().max(253).optional().describe('Runtime class of the Pods.'),
  securityContext: podSecurityContextSchema
    .optional()
    .describe(
      "Security context of the Pods, over the operator's own (runAsNonRoot, seccomp RuntimeDefault). It can ask for more than the restricted Pod Security Standard allows; a namespace that enforces it refuses such Pods.",
    ),
});
