import { describe, expect, it } from 'vitest';
import { requeueAfterMs } from '../../../src/controller/requeue.ts';
import { jobOfRun, policyWith } from '../../support/controller-objects.ts';

const now = new Date('2026-03-01T12:00:00Z');
const minutes = (count: number) => count * 60_000;

describe('a policy is looked at again', () => {
  it('never, if nothing is to come', () => {
    expect(requeueAfterMs({}, policyWith(), [], now)).toBeUndefined();
  });

  it('just after its next run', () => {
    expect(requeueAfterMs({ nextRun: '2026-03-01T12:15:00Z' }, policyWith(), [], now)).toBe(minutes(15) + 1000);
  });

  it('just after a job is overdue, but not for one that already is', () => {
    const policy = policyWith({ limits: { maxDuration: '10m' } });
    const job = { name: 'a', schedule: '0 * * * *', timeZone: 'UTC' };
    const since = (scheduledSince: string) => ({ jobs: [{ ...job, scheduledSince }] });
    expect(requeueAfterMs(since('2026-03-01T10:30:00Z'), policy, [], now)).toBe(minutes(10) + 1000);
    expect(requeueAfterMs(since('2026-03-01T09:30:00Z'), policy, [], now)).toBeUndefined();
  });

  it('for a Job that waits, after 5 s and then ever more rarely', () => {
    const waiting = (startTime: string) => [jobOfRun('n1', { startTime })];
    expect(requeueAfterMs({}, policyWith(), waiting('2026-03-01T11:59:59Z'), now)).toBe(5_000);
    expect(requeueAfterMs({}, policyWith(), waiting('2026-03-01T11:59:20Z'), now)).toBe(40_000);
    expect(requeueAfterMs({}, policyWith(), waiting('2026-03-01T10:00:00Z'), now)).toBe(minutes(5));
  });

  it.each(['AdmissionDenied', 'QuotaExceeded'])(
    'while something is denied, twice a minute in the end: %s',
    (reason) => {
      const denied = (lastTransitionTime: string) => ({
        conditions: [{ type: 'Ready', status: 'False' as const, reason, message: 'no', lastTransitionTime }],
      });
      expect(requeueAfterMs(denied('2026-03-01T12:00:00Z'), policyWith(), [], now)).toBe(5_000);
      expect(requeueAfterMs(denied('2026-03-01T11:59:40Z'), policyWith(), [], now)).toBe(20_000);
      expect(requeueAfterMs(denied('2026-03-01T10:00:00Z'), policyWith(), [], now)).toBe(30_000);
    },
  );
});
