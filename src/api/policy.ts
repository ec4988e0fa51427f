import { z } from 'zod';
import { specSchema } from './rules.ts';

export const group = 'retention.agentdata.io';
export const version = 'v1alpha1';
export const apiVersion = `${group}/${version}` as const;
export const kind = 'RetentionPolicy' as const;
export const plural = 'retentionpolicies';

/** Annotations by which people ask for a run now. */
export const runRequestedAtAnnotation = `${group}/run-requested-at`;
export const runJobAnnotation = `${group}/run-job`;
/** Annotation that suspends a policy as spec.suspend does; GitOps tools leave it alone where its field manager is its own. */
export const suspendAnnotation = `${group}/suspend`;
/** Labels of everything made for a policy: the policy's name and the job's. */
export const policyLabel = `${group}/policy`;
export const jobLabel = `${group}/job`;

/** A policy's name is a label value too. */
export const maxNameLength = 63;

const metadataSchema = z.strictObject({
  name: z
    .string()
    .max(maxNameLength)
    .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/),
  generateName: z.string().optional(),
  namespace: z.string().optional(),
  selfLink: z.string().optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.int().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  deletionGracePeriodSeconds: z.int().optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  labels: z.record(z.string(), z.string()).optional(),
  ownerReferences: z.unknown().optional(),
  finalizers: z.array(z.string()).optional(),
  managedFields: z.unknown().optional(),
});

/** The resource as a person writes it and as the API server prints it; the status is nobody's to write. */
export const retentionPolicySchema = z.strictObject({
  apiVersion: z.literal(apiVersion),
  kind: z.literal(kind),
  metadata: metadataSchema,
  spec: specSchema,
  status: z.unknown().optional(),
});

/**
 * Until when a policy is suspended, such as `spec.suspend is false again`; undefined where it is not. Whatever the annotation
 * says but `false` suspends: whoever writes it wants a stop.
 */
export function suspendedUntil(annotations: Record<string, string> | undefined, suspend: boolean): string | undefined {
  const value = annotations?.[suspendAnnotation];
  const until = [
    ...(suspend ? ['spec.suspend is false again'] : []),
    ...(value !== undefined && value !== 'false' ? [`the annotation ${suspendAnnotation} is removed`] : []),
  ];
  return until.length > 0 ? until.join(' and ') : undefined;
}

/** The field manager under which a job's runs write their part of the status. */
export function runFieldManager(job: string): string {
  return `retention-run-${job}`;
}

/** The field manager of `status.statistics`: one of its own, so that a run that fails does not take the last ones away. */
export const statisticsFieldManager = 'retention-statistics';

/** A zod error as one sentence that names the field, the problem and the value that was given. */
export function explain(error: z.ZodError, input?: unknown): string {
  return error.issues
    .map((issue) => {
      const path = issue.path.map(String).join('.');
      const value = issue.path.reduce<unknown>(
        (at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key],
        input,
      );
      const given = value === undefined || typeof value === 'object' ? '' : ` (given: ${JSON.stringify(value)})`;
      return `${path === '' ? 'the document' : path}: ${issue.message}${given}`;
    })
    .join('; ');
}
