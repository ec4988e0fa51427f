import { z } from 'zod';
import { appliedSchema } from './applied.ts';
import { effectiveSchema } from './effective.ts';
import { databaseSchema, maxTextLength, results, runResultSchema, statisticsSchema } from './run-result.ts';

/** The conditions that are this operator's own; others may add theirs. */
export const conditionTypes = ['Ready', 'LastRunSucceeded', 'Reconciling', 'Stalled', 'IndexAdvised'] as const;
export type ConditionType = (typeof conditionTypes)[number];

/** metav1.Condition. */
const conditionSchema = z.object({
  type: z.string().max(316),
  status: z.enum(['True', 'False', 'Unknown']),
  observedGeneration: z.int().min(0).optional().meta({ format: 'int64' }),
  lastTransitionTime: z.string().meta({ format: 'date-time' }),
  reason: z.string().min(1).max(1024),
  message: z.string().max(32_768),
});
export type Condition = z.output<typeof conditionSchema>;

const time = z.string().max(40);
const text = z.string().max(maxTextLength);

export const jobStatusSchema = z.object({
  name: z.string().max(63),
  cronJob: z.string().max(52).optional(),
  schedule: z.string().max(100).optional(),
  timeZone: z.string().max(64).optional(),
  scheduledSince: time
    .optional()
    .describe(
      'Since when the spec has asked for this schedule; whether a job is overdue is counted from here, whether or not its CronJob is in place. Absent while suspended, in dry run or in deletion.',
    ),
  nextRun: time.optional(),
  active: z.int().min(0).optional().describe('Runs under way.'),
  lastSuccessTime: time
    .optional()
    .describe("When a run of this job last ended as Succeeded; where the run's clock was wrong, by the controller's."),
  lastSuccessId: z.string().max(253).optional().describe('The run that did.'),
  lastFailure: z
    .object({ id: z.string().max(253), result: z.enum(results), completionTime: time, message: text.optional() })
    .optional()
    .meta({ 'x-kubernetes-map-type': 'atomic' })
    .describe('The newest run that did not succeed; gone once a later one has. Skipped and dry runs do not touch it.'),
  lastRun: runResultSchema
    .optional()
    .meta({ 'x-kubernetes-map-type': 'atomic' })
    .describe('The newest run, written by the run itself.'),
});
export type JobStatus = z.output<typeof jobStatusSchema>;

/** One line of the history. */
const runSummarySchema = z.object({
  id: z.string().max(253),
  job: z.string().max(63),
  startTime: time,
  completionTime: time,
  result: z.enum(results),
  rows: z.int().min(0).meta({ format: 'int64' }),
  message: z.string().max(256).optional(),
});
export type RunSummary = z.output<typeof runSummarySchema>;

/** The status of a policy that no controller has seen: kstatus would take one without any for ready. */
export const initialStatus = { observedGeneration: -1 };

/** So long that kubectl's table with it has some 200 columns. */
export const maxShortMessage = 76;

export const statusSchema = z.object({
  observedGeneration: z
    .int()
    .min(-1)
    .optional()
    .meta({ format: 'int64' })
    .describe(
      'The metadata.generation that the rest of the status is about; -1 before a controller has seen the policy.',
    ),
  suspended: z
    .boolean()
    .optional()
    .describe('True once no CronJob starts a run because spec.suspend or the annotation suspend says so.'),
  message: z
    .string()
    .max(maxShortMessage)
    .optional()
    .describe(
      'Why the policy is not ready, or its runs do not succeed, cut short for a table. The conditions have all of it.',
    ),
  conditions: z
    .array(conditionSchema)
    .max(16)
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] })
    .optional()
    .describe(
      'Ready: the CronJobs are what the spec asks for. LastRunSucceeded: how the runs go. Reconciling, Stalled and IndexAdvised are there only while they hold.',
    ),
  effective: effectiveSchema.optional().meta({ 'x-kubernetes-map-type': 'atomic' }).describe('The values in force.'),
  applied: appliedSchema
    .optional()
    .meta({ 'x-kubernetes-map-type': 'atomic' })
    .describe(
      'The values under which runs have last succeeded. A run by values that make more rows due than these is Blocked until spec.guard.confirm names them.',
    ),
  jobs: z
    .array(jobStatusSchema)
    .max(64)
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
    .optional()
    .describe("What each job's schedule and newest run are."),
  nextRun: time.optional().describe('The earliest nextRun of the jobs.'),
  lastRun: z
    .object({
      id: z.string().max(253),
      job: z.string().max(63),
      startTime: time,
      completionTime: z.string().meta({ format: 'date-time' }),
      durationSeconds: z.number(),
      rows: z.int().min(0).meta({ format: 'int64' }),
      result: z.enum(results).describe("The worst of all jobs' newest results."),
      message: z.string().max(1024).optional(),
    })
    .optional()
    .meta({ 'x-kubernetes-map-type': 'atomic' })
    .describe('The newest run of all jobs.'),
  runs: z
    .array(runSummarySchema)
    .max(50)
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .optional()
    .describe('The last runs, newest first.'),
  database: databaseSchema
    .optional()
    .meta({ 'x-kubernetes-map-type': 'atomic' })
    .describe('What the newest run that connected worked on; two policies with the same fingerprint can overlap.'),
  statistics: statisticsSchema
    .optional()
    .meta({ 'x-kubernetes-map-type': 'atomic' })
    .describe('Sizes, ages and rows due, as the newest run of spec.statistics found them.'),
  lastHandledRunRequest: z
    .string()
    .max(1024)
    .optional()
    .describe('The newest value of the annotation run-requested-at that was carried out or refused.'),
});
export type RetentionPolicyStatus = z.output<typeof statusSchema>;
