import { z } from 'zod';
import { effectiveSchema } from './effective.ts';
import { cleanupOperations } from './spec.ts';

/** How a run ended; worst first, which is the order in which a policy with several jobs shows them. */
export const results = ['Failed', 'Blocked', 'Partial', 'Skipped', 'DryRun', 'Succeeded'] as const;
export type Result = (typeof results)[number];

/** What started a run. */
export const triggers = ['Schedule', 'Manual', 'CommandLine'] as const;

/** Longest text in a result; the CRD bounds its strings with it. */
export const maxTextLength = 1024;
const text = z.string().max(maxTextLength);
/** RFC 3339 in UTC. */
const instant = z.string().max(40);
/** A run's end is shown in `status.lastRun` too, where the API server takes nothing but a time. */
const end = instant.refine(
  (value) => /T\d\d:\d\d:\d\d/.test(value) && z.iso.datetime({ offset: true }).safeParse(value).success,
  'must be a time as RFC 3339 writes it',
);
const rows = z.int().min(0).meta({ format: 'int64' });
const seconds = z.number().min(0);

const operationResultSchema = z.object({
  name: z.enum(cleanupOperations),
  cutoff: z
    .string()
    .max(40)
    .optional()
    .describe('Rows strictly older than this were due, in the type and time zone of the column they are counted by.'),
  closed: rows.optional().describe('Connections closed as timed out.'),
  archived: rows.optional().describe('Rows whose content was replaced by a note that it is archived.'),
  deleted: rows.optional().describe('Rows deleted.'),
  skipped: rows.describe('Rows left as they were, because they were locked twice.'),
  failed: rows
    .optional()
    .describe(
      'Rows left as they were, because the database refuses to change them or a trigger or rule undoes the change.',
    ),
  undated: rows
    .optional()
    .describe('Rows that are never due because the column that their age is counted from is NULL.'),
  uncovered: rows.optional().describe('Rows past their age in a status that the operation does not take.'),
  alreadyArchived: rows.optional().describe('Rows past their age whose content is the note of an earlier run.'),
  kept: z
    .array(z.object({ table: z.string().max(130), rows }))
    .max(16)
    .optional()
    .describe('Rows past their age that were not deleted because rows of another table refer to them, by that table.'),
  batches: rows.describe('Transactions that changed rows.'),
  deadRows: rows
    .optional()
    .describe("Dead rows that the operation's table was left with, by the server's statistics; vacuum removes them."),
  durationSeconds: seconds,
  message: text.optional().describe('What is worth knowing, such as a warning.'),
  error: text.optional().describe('Why the operation did not finish.'),
});
export type OperationResult = z.output<typeof operationResultSchema>;

const indexAdviceSchema = z.object({
  table: z.string().max(63),
  statements: z
    .array(text)
    .max(4)
    .describe('SQL for the owner of the table, one after the other, each outside a transaction.'),
  saving: text.describe('What finding the rows due costs without the index, by the planner, and what the index does.'),
});
export type IndexAdvice = z.output<typeof indexAdviceSchema>;

const byTable = <T extends z.ZodType>(value: T) =>
  z.object({
    sessions: value.optional(),
    instructions: value.optional(),
    connections: value.optional(),
    acknowledgements: value.optional(),
  });
const byStatus = z.array(z.object({ status: z.string().max(64), rows })).max(50);

export const statisticsSchema = z.object({
  observedAt: instant,
  recordCounts: byTable(
    z.object({ rows, estimated: z.boolean().optional().describe("True where it is the planner's estimate.") }),
  ).describe('Rows of each table.'),
  tableSizes: byTable(z.object({ bytes: rows, size: z.string().max(40) })).describe('Size of each table with indexes.'),
  totalSizeBytes: rows,
  totalSize: z.string().max(40),
  oldest: byTable(instant).describe('Creation time of the oldest row of each table.'),
  due: byTable(rows).describe('Rows due per operation; left out where counting took too long.'),
  uncovered: z
    .object({ sessions: byStatus.optional(), instructions: byStatus.optional() })
    .describe('Rows past their age in a status that no operation takes.'),
  undated: byTable(rows)
    .optional()
    .describe('Rows that are never due because the column that their age is counted from is NULL, per operation.'),
  alreadyArchived: z
    .object({ sessions: rows.optional(), instructions: rows.optional() })
    .optional()
    .describe('Rows past their age whose content is the note of an earlier run, per operation.'),
});
export type Statistics = z.output<typeof statisticsSchema>;

export const databaseSchema = z.object({
  secret: z.string().max(253).describe('The Secret by which the run connected.'),
  schema: z.string().max(63),
  fingerprint: z
    .string()
    .max(64)
    .describe(
      'A hash of the server, the database and the schema: the same for all runs that worked on the same tables.',
    ),
});
/** What a run worked on. */
export type Database = z.output<typeof databaseSchema>;

/** One run: printed as JSON, written as termination message, stored as `status.jobs[].lastRun`. */
export const runResultSchema = z.object({
  id: z.string().max(253).describe("Name of the run's Job, or an id of the command line's own."),
  job: z.string().max(63),
  trigger: z.enum(triggers),
  startTime: instant,
  completionTime: end,
  durationSeconds: seconds,
  result: z.enum(results),
  rows: rows.describe('Rows closed, archived and deleted in all; in a dry run those that would be.'),
  operations: z.array(operationResultSchema).max(cleanupOperations.length),
  policy: effectiveSchema.optional().describe('The values in force during the run.'),
  database: databaseSchema.optional().describe('What the run worked on; absent where it did not connect.'),
  indexAdvice: z.array(indexAdviceSchema).max(8).optional().describe('Indexes with which runs would read much less.'),
  message: text.optional().describe('One sentence for people.'),
});
export type RunResult = z.output<typeof runResultSchema>;

/** What a run prints: its result, and the statistics it was asked for. */
export const runReportSchema = runResultSchema.extend({ statistics: statisticsSchema.optional() });
export type RunReport = z.output<typeof runReportSchema>;

/** Exit code of a run that ended so (design, "Exit codes"); 2 is bad input or configuration. */
export const exitCodes: Record<Result, number> = {
  Succeeded: 0,
  DryRun: 0,
  Failed: 1,
  Blocked: 3,
  Partial: 4,
  Skipped: 5,
};
export const badInputExitCode = 2;

/** The result of a run that has no operations: it collected statistics, or ended before its first. */
export function resultWithoutOperations(
  identity: Pick<RunResult, 'id' | 'job' | 'trigger'>,
  result: Result,
  started: Date,
  ended: Date,
  message?: string,
): RunResult {
  return {
    ...identity,
    startTime: started.toISOString(),
    completionTime: ended.toISOString(),
    durationSeconds: Math.max(0, ended.getTime() - started.getTime()) / 1000,
    result,
    rows: 0,
    operations: [],
    ...(message === undefined ? {} : { message: cutText(message) }),
  };
}

/** The worst of some results, as `status.lastRun.result` shows it; undefined for none. */
export function worstResult(all: Iterable<Result>): Result | undefined {
  const seen = new Set(all);
  return results.find((result) => seen.has(result));
}

/**
 * A text that does nothing to a terminal, whoever wrote it: control characters, those of C1 and those that turn the
 * direction of writing included, as \\x1b or \\u202e. Line breaks and tabs stay.
 */
export function printable(value: string): string {
  return value.replaceAll(/(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0)!.toString(16);
    if (code.length <= 2) return `\\x${code.padStart(2, '0')}`;
    return code.length <= 4 ? `\\u${code.padStart(4, '0')}` : `\\u{${code}}`;
  });
}

/** A printable text no longer than `length` characters, its cut marked by an ellipsis and never within a surrogate pair. */
export function cutText(value: string, length: number = maxTextLength): string {
  const text = printable(value);
  return text.length <= length ? text : `${text.slice(0, length - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

/** The result with every text cut to `length` characters. */
export function cutTexts<T extends RunResult>(result: T, length: number = maxTextLength): T {
  const cut = (value: string | undefined) => (value === undefined ? undefined : cutText(value, length));
  return {
    ...result,
    message: cut(result.message),
    operations: result.operations.map((operation) => ({
      ...operation,
      message: cut(operation.message),
      error: cut(operation.error),
    })),
  };
}

const terminationMessageBytes = 4096;

/** The result as JSON of at most 4,096 bytes, what a kubelet keeps of a termination message. */
export function terminationMessage(report: RunReport): string {
  const { statistics: _statistics, ...result } = report;
  const { policy: _policy, ...shorter } = result;
  // Not among the texts that are cut: half a statement is of no use.
  const { indexAdvice: _indexAdvice, ...bare } = shorter;
  const cut = [512, 256, 128, 64, 16].map((length) => cutTexts(bare, length));
  const candidates = [report, result, shorter, bare, ...cut];
  const texts = candidates.map((candidate) => JSON.stringify(candidate));
  return texts.find((candidate) => Buffer.byteLength(candidate) <= terminationMessageBytes) ?? texts.at(-1)!;
}
