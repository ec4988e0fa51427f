import { z } from 'zod';
import { appliedSchema } from './applied.ts';
import { effectiveSchema } from './effective.ts';
import { triggers } from './run-result.ts';
import { cleanupOperations, guardSchema, limitsSchema, tlsModes } from './spec.ts';

/**
 * What the controller hands to a run in `RETENTION_POLICY`: one job of one resolved policy. Runs under way are compared by
 * it with their policy, across an upgrade too: a new field needs a default, or is absent unless the policy states it.
 */
export const runRequestSchema = z.object({
  policy: z.object({ namespace: z.string(), name: z.string(), uid: z.string() }),
  job: z.string(),
  trigger: z.enum(triggers),
  operations: z.array(z.enum([...cleanupOperations, 'statistics'])).min(1),
  retention: effectiveSchema,
  applied: appliedSchema.optional().describe('The values under which runs have last succeeded.'),
  database: z.object({
    secretName: z.string().describe('Only named in error messages.'),
    schema: z.string(),
    timestampTimeZone: z.string(),
    tlsMode: z.enum(tlsModes).optional(),
    caSecret: z.object({ name: z.string(), key: z.string() }).optional(),
  }),
  dryRun: z.boolean(),
  guard: guardSchema,
  limits: limitsSchema,
});
export type RunRequest = z.output<typeof runRequestSchema>;

/** Environment of a runner Pod, and the paths its volumes are mounted at. */
export const runnerEnvironment = {
  /** JSON of the run request. */
  request: 'RETENTION_POLICY',
  /** Name of the Job, from the Pod's label: the id of the run. */
  runId: 'RETENTION_RUN_ID',
  /** Folder of the mounted database Secret. */
  databaseDirectory: 'RETENTION_DATABASE_DIR',
  /** Folder of the mounted CA Secret; set only with spec.database.tls.caSecretRef. */
  caDirectory: 'RETENTION_CA_DIR',
  /** Folder with token, ca.crt and namespace, with which the run reports. */
  serviceAccountDirectory: 'RETENTION_SERVICE_ACCOUNT_DIR',
  /** File that becomes the container's termination message. */
  terminationLog: 'RETENTION_TERMINATION_LOG',
} as const;

export const runnerPaths = {
  databaseDirectory: '/var/run/secrets/retention/database',
  caDirectory: '/var/run/secrets/retention/ca',
  serviceAccountDirectory: '/var/run/secrets/retention/serviceaccount',
  terminationLog: '/dev/termination-log',
} as const;
