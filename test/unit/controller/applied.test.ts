import { describe, expect, it } from 'vitest';
import { effectiveRetention } from '../../../src/api/effective.ts';
import type { RunResult } from '../../../src/api/run-result.ts';
import type { CleanupOperation } from '../../../src/api/spec.ts';
import { appliedValues } from '../../../src/controller/applied.ts';
import { runOf } from '../../support/controller-objects.ts';

const scientific = effectiveRetention({ preset: 'ScientificCompliance' });
const development = effectiveRetention({ preset: 'Development' });
const { sessions, instructions } = scientific.statuses;

/** A job whose newest run did these operations. */
function job(name: string, operations: CleanupOperation[], run: Partial<RunResult> = {}) {
  const done = operations.map((operation) => ({ name: operation, skipped: 0, batches: 0, durationSeconds: 0 }));
  return { name, lastRun: runOf(name, { policy: scientific, operations: done, ...run }) };
}

describe('the values under which runs have last succeeded', () => {
  it('are none before the first success', () => {
    expect(appliedValues({})).toBeUndefined();
    for (const result of ['Failed', 'Blocked', 'Partial', 'Skipped', 'DryRun'] as const) {
      expect(appliedValues({ jobs: [job('cleanup', ['instructions'], { result })] })).toBeUndefined();
    }
    expect(appliedValues({ jobs: [job('statistics', [])] })).toBeUndefined();
    expect(appliedValues({ jobs: [job('cleanup', ['instructions'], { policy: undefined })] })).toBeUndefined();
  });

  it('are those of the run, for the operations that it did', () => {
    expect(appliedValues({ jobs: [job('nightly', ['instructions'], { policy: development })] })).toEqual({
      instructionRetentionDays: 7,
      statuses: { instructions },
    });
    expect(appliedValues({ jobs: [job('nightly', ['connections', 'sessions'], { policy: development })] })).toEqual({
      connectionCleanupHours: 4,
      completedSessionRetentionDays: 14,
      statuses: { sessions },
    });
  });

  it('have seven years where a policy keeps acknowledgements, whose operation is never done', () => {
    expect(appliedValues({ jobs: [job('cleanup', ['connections', 'instructions', 'sessions'])] })).toEqual({
      connectionCleanupHours: 48,
      instructionRetentionDays: 365,
      completedSessionRetentionDays: 730,
      acknowledgementRetentionDays: 2555,
      statuses: { sessions, instructions },
    });
  });

  it('stay while later runs fail or are blocked, and while another job’s runs do other operations by new values', () => {
    const before = { connectionCleanupHours: 48, instructionRetentionDays: 365, acknowledgementRetentionDays: 2555 };
    const jobs = [
      job('nightly', ['instructions'], { result: 'Blocked', policy: development }),
      job('heartbeat', ['connections'], { policy: development }),
    ];
    expect(appliedValues({ applied: before, jobs })).toEqual({
      ...before,
      connectionCleanupHours: 4,
    });
  });

  it('are the newest where several jobs have the same operation, whatever their order', () => {
    const old = job('a', ['instructions'], { completionTime: '2026-01-01T00:00:00Z' });
    const newer = job('b', ['instructions'], { policy: development, completionTime: '2026-01-02T00:00:00Z' });
    for (const jobs of [
      [old, newer],
      [newer, old],
    ]) {
      expect(appliedValues({ jobs })).toMatchObject({ instructionRetentionDays: 7 });
    }
  });
});
