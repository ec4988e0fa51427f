import { describe, expect, it } from 'vitest';
import type { Condition, RetentionPolicyStatus } from '../../../src/api/status.ts';
import { announcements } from '../../../src/controller/announce.ts';

const condition = (type: string, status: Condition['status'], reason: string, message = 'words'): Condition => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: '2026-01-01T00:00:00Z',
});
const withFailure = (id: string): RetentionPolicyStatus => ({
  jobs: [{ name: 'nightly', lastFailure: { id, result: 'Blocked', completionTime: '', message: 'too many rows' } }],
});

describe('a change of the status is announced', () => {
  it('when a condition comes into trouble, or its words change, and not again', () => {
    const overlap: RetentionPolicyStatus = { conditions: [condition('Ready', 'False', 'Overlap')] };
    expect(announcements({}, overlap)).toEqual([{ type: 'Warning', reason: 'Overlap', message: 'words' }]);
    expect(announcements(overlap, overlap)).toEqual([]);
    const other: RetentionPolicyStatus = { conditions: [condition('Ready', 'False', 'Overlap', 'other words')] };
    expect(announcements(overlap, other)).toHaveLength(1);
    expect(announcements(overlap, { conditions: [condition('Ready', 'True', 'Scheduled')] })).toEqual([]);
  });

  it('when a runner cannot start, or a job is overdue', () => {
    for (const reason of ['RunnerNotStarted', 'Overdue']) {
      const after = { conditions: [condition('LastRunSucceeded', 'False', reason)] };
      expect(announcements({}, after)).toEqual([{ type: 'Warning', reason, message: 'words' }]);
    }
  });

  it('when a run ended badly, each once', () => {
    expect(announcements({}, withFailure('n1'))).toEqual([
      { type: 'Warning', reason: 'RunBlocked', message: 'nightly: too many rows' },
    ]);
    expect(announcements(withFailure('n1'), withFailure('n1'))).toEqual([]);
    expect(announcements(withFailure('n1'), withFailure('n2'))).toHaveLength(1);
    expect(announcements(withFailure('n1'), { jobs: [{ name: 'nightly' }] })).toEqual([]);
  });
});
