import type { RetentionPolicyStatus } from '../api/status.ts';

export interface Announcement {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

/** The Events that a change of the status is worth: each once, when it comes about. */
export function announcements(before: RetentionPolicyStatus, after: RetentionPolicyStatus): Announcement[] {
  return [...troubles(before, after), ...badRuns(before, after)].map((event) => ({ type: 'Warning', ...event }));
}

/** Conditions in trouble, where reason or words are new. */
function troubles(before: RetentionPolicyStatus, after: RetentionPolicyStatus) {
  const troubled = (after.conditions ?? []).filter(
    ({ type, status, reason }) =>
      (type === 'Ready' && status === 'False') ||
      (type === 'LastRunSucceeded' && (reason === 'RunnerNotStarted' || reason === 'Overdue')),
  );
  return troubled.flatMap(({ type, reason, message }) => {
    const old = before.conditions?.find((condition) => condition.type === type);
    return old?.reason === reason && old.message === message ? [] : [{ reason, message }];
  });
}

/** Runs that ended badly since. */
function badRuns(before: RetentionPolicyStatus, after: RetentionPolicyStatus) {
  return (after.jobs ?? []).flatMap(({ name, lastFailure }) => {
    const old = before.jobs?.find((job) => job.name === name)?.lastFailure;
    if (!lastFailure || lastFailure.id === old?.id) return [];
    const { id, result, message } = lastFailure;
    return [{ reason: `Run${result}`, message: `${name}: ${message ?? `see the log of Job ${id}`}` }];
  });
}
