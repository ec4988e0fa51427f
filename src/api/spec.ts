import { z } from 'zod';
import { byteQuantity } from './byte-quantity.ts';
import { cron } from './cron.ts';
import { duration } from './duration.ts';
import { presetNames } from './presets.ts';
import { runnerSchema } from './runner-spec.ts';
import { scheduleTimeZone, timeZoneName } from './time-zone.ts';

/** Retention operations in the order in which a full cleanup runs them. */
export const cleanupOperations = ['connections', 'instructions', 'sessions', 'acknowledgements'] as const;
export type CleanupOperation = (typeof cleanupOperations)[number];
/** The name of the job that `spec.statistics` makes; no job in `spec.jobs` may have it. */
export const statisticsJob = 'statistics';

// PostgreSQL cannot hold a NUL in text, and in a name the other control characters are no better.
const withoutControlCharacters = /^\P{Cc}+$/u;

const days = z.int().min(1).max(36_500);
const statusList = z
  .array(z.string().min(1).max(64).regex(withoutControlCharacters))
  .min(1)
  .max(20)
  .refine((statuses) => new Set(statuses).size === statuses.length, 'names a status twice')
  .meta({ 'x-kubernetes-list-type': 'set' });

const secretName = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/);

const statusesSchema = z.strictObject({
  sessions: statusList
    .optional()
    .describe('Statuses of a session that has ended. Default: completed, terminated, error.'),
  instructions: statusList
    .optional()
    .describe('Statuses of an instruction that is over. Default: completed, failed, expired.'),
});

const retentionSchema = z.strictObject({
  connectionCleanupHours: days
    .optional()
    .describe('Hours without a heartbeat after which an active connection is closed as timed out. 1 to 36500.'),
  instructionRetentionDays: days
    .optional()
    .describe(
      'Days after which an instruction with acknowledgements is archived and one without is deleted. 1 to 36500.',
    ),
  completedSessionRetentionDays: days
    .optional()
    .describe('Days after its end after which the experimental parameters of a session are archived. 1 to 36500.'),
  acknowledgementRetentionDays: days
    .optional()
    .describe(
      'Days after which an acknowledgement is deleted; from 2555 (seven years) on, none ever is. Not less than instructionRetentionDays. 1 to 36500.',
    ),
  batchSize: z.int().min(1).max(20_000).optional().describe('Rows changed in one transaction. 1 to 20000.'),
  statuses: statusesSchema
    .optional()
    .describe(
      'Statuses whose rows are due, instead of the defaults. Rows past their age in no listed status show up in status.statistics.uncovered.',
    ),
});

/** From the weakest to the strictest, which is how the strictest of several is found. */
export const tlsModes = ['disable', 'require', 'verify-ca', 'verify-full'] as const;

const tlsRule = {
  rule: "!(has(self.mode) && self.mode in ['disable', 'require'] && has(self.caSecretRef))",
  message: 'mode disable or require asks for no CA: leave caSecretRef out, or use verify-ca or verify-full',
};
const databaseSchema = z.strictObject({
  secretRef: z
    .strictObject({ name: secretName })
    .describe(
      'Secret of this namespace with key uri, or host, port, dbname (or database), user (or username) and password, as CloudNativePG, Crunchy and Service Binding write them. It may have sslmode, ca.crt, tls.crt and tls.key too; the README names all keys.',
    ),
  schema: z
    .string()
    .min(1)
    .max(63)
    .regex(withoutControlCharacters)
    .default('public')
    .describe('PostgreSQL schema that holds the agent tables.'),
  timestampTimeZone: timeZoneName
    .default('UTC')
    .describe(
      'Time zone in which columns of type timestamp without time zone were written: a name of pg_timezone_names, spelled as there.',
    ),
  tls: z
    .strictObject({
      mode: z
        .enum(tlsModes)
        .optional()
        .describe(
          "The least protection: the stricter of this and the Secret's sslmode counts. Without either: verify-full where a CA is given, require elsewhere.",
        ),
      caSecretRef: z
        .strictObject({
          name: secretName,
          key: z
            .string()
            .min(1)
            .max(253)
            .regex(/^[-._a-zA-Z0-9]+$/)
            .default('ca.crt'),
        })
        .optional()
        .describe("Secret and key with the CA certificate that signed the server's. It is always looked at."),
    })
    .refine((tls) => !(tls.caSecretRef && (tls.mode === 'disable' || tls.mode === 'require')), tlsRule.message)
    .meta({ 'x-kubernetes-validations': [tlsRule] })
    .optional()
    .describe('How the connection to the server is protected.'),
});

const jobName = z
  .string()
  .min(1)
  .max(40)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);

const reservedRule = {
  rule: "self.name != 'statistics'",
  message: 'the job name "statistics" is reserved for spec.statistics',
};
const jobSchema = z
  .strictObject({
    name: jobName.describe('Name of the job, part of its CronJob’s name.'),
    schedule: cron.optional().describe('Cron expression of five fields. Default: spec.schedule.'),
    operations: z
      .array(z.enum(cleanupOperations))
      .min(1)
      .max(cleanupOperations.length)
      .refine((names) => new Set(names).size === names.length, 'names an operation twice')
      .meta({ 'x-kubernetes-list-type': 'set' })
      // No default: one inside a list is a difference for ever to clients that compare lists as wholes.
      .optional()
      .describe(
        'Operations of this job. Default: all. They always run in the order connections, instructions, sessions, acknowledgements.',
      ),
  })
  .refine((job) => job.name !== statisticsJob, { path: ['name'], message: reservedRule.message })
  .meta({ 'x-kubernetes-validations': [reservedRule] });

/**
 * Not put into policies by the API server: a controller of the release before, which an upgrade replaces last, would not
 * know the fields and refuse every policy.
 */
export const guardDefaults = { maxPercentOfConnections: 90, maxClockDifference: '5m' };

const confirmSchema = retentionSchema.omit({ batchSize: true });

export const guardSchema = z.strictObject({
  maxRowsPerRun: z
    .int()
    .min(1)
    .max(1_000_000_000_000)
    .default(1_000_000)
    .meta({ format: 'int64' })
    .describe('Rows that one run may delete or archive. A run with more due changes nothing and ends Blocked.'),
  maxPercentOfTable: z
    .int()
    .min(1)
    .max(100)
    .default(50)
    .describe(
      'Share of the rows of a table that still have something to lose (not archived yet, or without acknowledgements) that one run may delete or archive. A run with more due changes nothing and ends Blocked.',
    ),
  maxPercentOfConnections: z
    .int()
    .min(1)
    .max(100)
    .optional()
    .describe(
      `Share of the active connections that one run may close. Up to 100 connections may always be closed. A run with more due changes nothing and ends Blocked. Default: ${guardDefaults.maxPercentOfConnections}.`,
    ),
  maxClockDifference: duration('1s', '87600h')
    .optional()
    .describe(
      `How far the database's clock may be from the run's own. A run that finds more changes nothing and ends Blocked. Default: ${guardDefaults.maxClockDifference}.`,
    ),
  confirm: confirmSchema
    .optional()
    .describe(
      'Confirms values that make more rows due than those of the last successful run: each must be named here exactly. Without it such a run changes nothing and ends Blocked. It has no effect on any other value, so it may stay.',
    ),
});

export const limitsSchema = z.strictObject({
  lockTimeout: duration('1ms', '1h')
    .default('2s')
    .describe(
      'How long a statement waits for a lock. Rows that others hold locked are left until the end of the operation, which waits about that long for all of them together.',
    ),
  statementTimeout: duration('1s', '24h').default('60s').describe('How long one statement of a batch may take.'),
  maxDuration: duration('1s', '168h')
    .default('1h')
    .describe('How long a run may take. It ends itself as Partial then; the next one goes on.'),
  pauseBetweenBatches: duration('0s', '1h').default('0s').describe('Pause after each batch, for the sake of others.'),
  maxReplicationLag: byteQuantity('1Mi', '16Ti')
    .optional()
    .describe(
      'How much WAL, such as 256Mi or 1Gi, a direct standby may be behind in replay and a replication slot may retain; while one exceeds it, runs wait between batches. 1Mi to 16Ti. Needs pg_read_all_stats. Default: not looked at.',
    ),
  vacuum: z
    .boolean()
    .default(true)
    .describe(
      'Whether a run ends by vacuuming the tables of which it changed a large part, where its role owns them or has MAINTAIN. It passes over locked tables and truncates none.',
    ),
});

const historySchema = z.strictObject({
  runs: z.int().min(0).max(50).default(10).describe('Runs kept in status.runs.'),
  successfulJobs: z.int().min(0).max(100).default(3).describe('Finished Jobs kept per CronJob that succeeded.'),
  // With none kept, a run that was killed would be gone before anybody saw why.
  failedJobs: z.int().min(1).max(100).default(3).describe('Finished Jobs kept per CronJob that failed.'),
});

const withDefaults = <T extends z.ZodObject>(schema: T) => schema.prefault({} as never);

/** The fields of a RetentionPolicy's spec; rules.ts adds what spans fields. */
export const specFields = z.strictObject({
  preset: z
    .enum(presetNames)
    .default('ScientificCompliance')
    .describe('Values that apply where spec.retention says nothing.'),
  retention: retentionSchema.optional().describe('Periods and batch size; each overrides the preset.'),
  database: databaseSchema.describe('The database that the policy applies to.'),
  schedule: cron.describe('When the jobs without a schedule of their own run: cron, five fields.'),
  timeZone: scheduleTimeZone.default('Etc/UTC').describe('Time zone of every schedule, a name of the IANA database.'),
  jobs: z
    .array(jobSchema)
    .min(1)
    .max(16)
    .refine((jobs) => new Set(jobs.map((job) => job.name)).size === jobs.length, 'names a job twice')
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
    .optional()
    .describe('Each is one CronJob. Default: one, cleanup, with every operation, on spec.schedule.'),
  statistics: z
    .strictObject({ schedule: cron.describe('Cron expression of five fields.') })
    .optional()
    .describe('Reports sizes, ages and rows due into status.statistics, on a schedule of its own.'),
  suspend: z
    .boolean()
    .default(false)
    .describe('While true no run starts, and one under way is stopped within seconds and ends as Partial.'),
  dryRun: z.boolean().default(false).describe('Runs only count what they would change.'),
  guard: withDefaults(guardSchema).describe('Limits that stop a run before its first change.'),
  limits: withDefaults(limitsSchema).describe('What a run may take, and how it considers others.'),
  history: withDefaults(historySchema).describe('How much is kept of what has been.'),
  runner: runnerSchema.optional().describe('What the Pods of the runs get.'),
});
export type SpecFields = z.output<typeof specFields>;

/** The operations of one of spec.jobs, all where it names none, in the order in which they run. */
export function operationsOf({
  operations = cleanupOperations,
}: {
  operations?: readonly CleanupOperation[] | undefined;
}): CleanupOperation[] {
  return cleanupOperations.filter((name) => operations.includes(name));
}
