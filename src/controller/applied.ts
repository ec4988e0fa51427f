import type { Applied } from '../api/applied.ts';
import type { EffectiveRetention } from '../api/effective.ts';
import { auditTrailDays } from '../api/presets.ts';
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
