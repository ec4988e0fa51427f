import { type Applied, appliedSchema } from '../api/applied.ts';
import type { EffectiveRetention } from '../api/effective.ts';
import { auditTrailDays } from '../api/presets.ts';
import type { RunRequest } from '../api/run-request.ts';
import type { OperationResult } from '../api/run-result.ts';
import type { RetentionPolicyStatus } from '../api/status.ts';

/**
 * The values under which runs have last succeeded: those remembered, and those of the jobs' newest runs, each for the
 * operations that it did. A run that failed, was blocked or only counted changes nothing of it.
 */
export function appliedValues({
  applied,
  jobs = [],
}: Pick<RetentionPolicyStatus, 'applied' | 'jobs'>): Applied | undefined {
  const succeeded = jobs
    .flatMap(({ lastRun }) => (lastRun?.result === 'Succeeded' ? lastRun : []))
    .sort((a, b) => Date.parse(a.completionTime) - Date.parse(b.completionTime));
  let values = applied;
  for (const { policy, operations } of succeeded) {
    if (policy === undefined || operations.length === 0) continue;
    values = { ...values, ...valuesOf(operations, policy, values) };
  }
  return values;
}

function valuesOf(
  operations: readonly OperationResult[],
  policy: EffectiveRetention,
  before: Applied | undefined,
): Applied {
  const did = new Set<string>(operations.map(({ name }) => name));
  const { connectionCleanupHours, instructionRetentionDays, completedSessionRetentionDays } = policy;
  const { acknowledgementRetentionDays } = policy;
  const statuses = {
    ...before?.statuses,
    ...(did.has('instructions') && { instructions: policy.statuses.instructions }),
    ...(did.has('sessions') && { sessions: policy.statuses.sessions }),
  };
  return {
    ...(did.has('connections') && { connectionCleanupHours }),
    ...(did.has('instructions') && { instructionRetentionDays }),
    ...(did.has('sessions') && { completedSessionRetentionDays }),
    // From seven years on the operation is never done, and that is the value in force.
    ...((did.has('acknowledgements') || acknowledgementRetentionDays >= auditTrailDays) && {
      acknowledgementRetentionDays,
    }),
    ...(Object.keys(statuses).length > 0 && { statuses }),
  };
}

/** Of such values those of some operations: what other jobs have applied changes nothing of a job's CronJob. */
export function appliedBy(operations: RunRequest['operations'], applied: Applied | undefined): Applied | undefined {
  const done: (keyof Applied | undefined)[] = [
    operations.includes('connections') ? 'connectionCleanupHours' : undefined,
    operations.includes('instructions') ? 'instructionRetentionDays' : undefined,
    operations.includes('sessions') ? 'completedSessionRetentionDays' : undefined,
    operations.includes('acknowledgements') ? 'acknowledgementRetentionDays' : undefined,
  ];
  const lists = Object.entries(applied?.statuses ?? {}).filter(([name]) => operations.some((each) => each === name));
  const values = Object.entries(applied ?? {}).filter(([name]) => done.includes(name as keyof Applied));
  if (values.length === 0 && lists.length === 0) return undefined;
  // In the schema's order, whatever the status has: it becomes a text of the CronJob's.
  return appliedSchema.parse({
    ...Object.fromEntries(values),
    ...(lists.length > 0 && { statuses: Object.fromEntries(lists) }),
  });
}
