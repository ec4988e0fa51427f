import { describe, expect, test } from 'vitest';
import { apiVersion, kind, suspendAnnotation } from '../../../src/api/policy.ts';
import type { StoredPolicy } from '../../../src/controller/objects.ts';
import { policyMetricsText } from '../../../src/controller/policy-metrics.ts';

const run = {
  id: 'smartem-nightly-1',
  job: 'nightly',
  trigger: 'Schedule',
  startTime: '2026-11-24T03:17:00Z',
  completionTime: '2026-11-24T03:18:30Z',
  durationSeconds: 90,
  result: 'Partial',
  rows: 12,
  operations: [
    {
      name: 'instructions',
      archived: 7,
      deleted: 5,
      skipped: 0,
      failed: 2,
      undated: 4,
      alreadyArchived: 8,
      batches: 2,
      durationSeconds: 80,
    },
    { name: 'sessions', archived: 0, skipped: 3, batches: 0, durationSeconds: 1 },
  ],
};

const policy = (name: string, spec: object = {}, status?: object): StoredPolicy => ({
  apiVersion,
  kind,
  metadata: { namespace: 'lab', name },
  spec: { preset: 'Development', timeZone: 'Europe/London', suspend: false, ...spec },
  status,
});
const condition = (type: string, status: string, reason = 'Any') => ({
  type,
  status,
  reason,
  message: '',
  lastTransitionTime: '2026-11-24T00:00:00Z',
});

/** The samples of these policies, without comments, sorted. */
async function scrape(policies: StoredPolicy[]): Promise<string[]> {
  const lines = (await policyMetricsText(policies)).split('\n');
  return lines.filter((line) => !line.startsWith('#')).sort();
}

describe('metrics of policies', () => {
  test('one that no controller has seen yet says what its spec says', async () => {
    expect(await scrape([policy('new', { suspend: true, dryRun: true })])).toEqual([
      'retention_policy_contested{namespace="lab",policy="new"} 0',
      'retention_policy_dry_run{namespace="lab",policy="new"} 1',
      'retention_policy_info{namespace="lab",policy="new",preset="Development",time_zone="Europe/London"} 1',
      'retention_policy_overdue{namespace="lab",policy="new"} 0',
      'retention_policy_ready{namespace="lab",policy="new"} 0',
      'retention_policy_stalled{namespace="lab",policy="new"} 0',
      'retention_policy_suspended{namespace="lab",policy="new"} 1',
    ]);
  });

  test('one that an annotation suspends is as suspended as one that its spec suspends', async () => {
    const annotated = (value: string): StoredPolicy => ({
      ...policy('p'),
      metadata: { namespace: 'lab', name: 'p', annotations: { [suspendAnnotation]: value } },
    });
    for (const [value, metric] of [
      ['true', 1],
      ['', 1],
      ['false', 0],
    ] as const) {
      expect(await scrape([annotated(value)])).toContain(
        `retention_policy_suspended{namespace="lab",policy="p"} ${metric}`,
      );
    }
  });

  test('runs, schedules and statistics are told by job, operation and action', async () => {
    const status = {
      conditions: [condition('Ready', 'True'), condition('LastRunSucceeded', 'False', 'RunPartial')],
      jobs: [
        {
          name: 'nightly',
          nextRun: '2026-11-25T03:17:00Z',
          lastSuccessTime: '2026-11-23T03:18:00Z',
          lastFailure: { id: run.id, result: 'Partial', completionTime: run.completionTime },
          lastRun: run,
        },
        { name: 'heartbeat', lastSuccessTime: '2026-11-24T03:30:00Z' },
      ],
      statistics: {
        observedAt: '2026-11-24T04:00:00Z',
        recordCounts: {},
        tableSizes: {},
        totalSizeBytes: 0,
        totalSize: '0 bytes',
        oldest: { instructions: '2019-01-01T00:00:00.000000Z' },
        due: { instructions: 3 },
        uncovered: {
          sessions: [
            { status: 'ended', rows: 2 },
            { status: 'x', rows: 3 },
          ],
        },
        undated: { sessions: 6, connections: 7 },
        alreadyArchived: { sessions: 9 },
      },
    };
    const lines = await scrape([policy('smartem', {}, status)]);
    const labels = 'namespace="lab",policy="smartem"';
    expect(lines).toEqual(
      expect.arrayContaining([
        `retention_policy_ready{${labels}} 1`,
        `retention_policy_last_run_failed{${labels},job="nightly"} 1`,
        `retention_policy_last_run_failed{${labels},job="heartbeat"} 0`,
        `retention_policy_last_success_timestamp_seconds{${labels},job="nightly"} 1795403880`,
        `retention_policy_next_run_timestamp_seconds{${labels},job="nightly"} 1795576620`,
        `retention_policy_last_run_duration_seconds{${labels},job="nightly"} 90`,
        `retention_policy_last_run_rows{${labels},job="nightly",operation="instructions",action="archived"} 7`,
        `retention_policy_last_run_rows{${labels},job="nightly",operation="instructions",action="deleted"} 5`,
        `retention_policy_last_run_rows{${labels},job="nightly",operation="sessions",action="archived"} 0`,
        `retention_policy_last_run_left_rows{${labels},job="nightly",operation="instructions",reason="skipped"} 0`,
        `retention_policy_last_run_left_rows{${labels},job="nightly",operation="instructions",reason="failed"} 2`,
        `retention_policy_last_run_left_rows{${labels},job="nightly",operation="sessions",reason="skipped"} 3`,
        `retention_policy_last_run_left_rows{${labels},job="nightly",operation="instructions",reason="undated"} 4`,
        `retention_policy_last_run_left_rows{${labels},job="statistics",operation="sessions",reason="uncovered"} 5`,
        `retention_policy_last_run_left_rows{${labels},job="statistics",operation="sessions",reason="undated"} 6`,
        `retention_policy_already_archived_rows{${labels},job="nightly",operation="instructions"} 8`,
        `retention_policy_already_archived_rows{${labels},job="statistics",operation="sessions"} 9`,
        `retention_policy_due_rows{${labels},operation="instructions"} 3`,
        `retention_policy_oldest_row_timestamp_seconds{${labels},record="instructions"} 1546300800`,
      ]),
    );
    expect(lines.filter((line) => line.includes('operation="connections"'))).toEqual([]);
  });

  test.each(['Reverted', 'ChangedByAdmission'])('one of which others hold a part says so: %s', async (reason) => {
    const lines = await scrape([policy('held', {}, { conditions: [condition('Ready', 'False', reason)] })]);
    expect(lines).toContain('retention_policy_contested{namespace="lab",policy="held"} 1');
  });

  test('a stalled policy, and one whose job is overdue, say so', async () => {
    const lines = await scrape([
      policy('broken', {}, { conditions: [condition('Ready', 'False'), condition('Stalled', 'True')] }),
      policy('late', {}, { conditions: [condition('LastRunSucceeded', 'False', 'Overdue')] }),
    ]);
    expect(lines).toContain('retention_policy_stalled{namespace="lab",policy="broken"} 1');
    expect(lines).toContain('retention_policy_overdue{namespace="lab",policy="late"} 1');
    expect(lines).toContain('retention_policy_overdue{namespace="lab",policy="broken"} 0');
  });

  test('are grouped by metric, with what it says and its type', async () => {
    const lines = (await policyMetricsText([policy('a'), policy('b', { timeZone: 'x"\\\n' })])).split('\n');
    expect(lines.slice(0, 5)).toEqual([
      '# HELP retention_policy_info Always 1; what the policy is.',
      '# TYPE retention_policy_info gauge',
      'retention_policy_info{namespace="lab",policy="a",preset="Development",time_zone="Europe/London"} 1',
      'retention_policy_info{namespace="lab",policy="b",preset="Development",time_zone="x\\"\\\\\\n"} 1',
      '# HELP retention_policy_suspended 1 while spec.suspend or the annotation says that no run starts.',
    ]);
  });

  test('let others work while there are many', async () => {
    let done = false;
    const scraping = policyMetricsText(Array.from({ length: 1_000 }, (_, number) => policy(`p${number}`)));
    void scraping.then(() => {
      done = true;
    });
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    expect((await scraping).match(/^retention_policy_info\{/gm)).toHaveLength(1_000);
  });

  test('a spec and a status of another version are no reason for none at all', async () => {
    const lines = await scrape([
      policy('odd', { preset: 7, suspend: 'no', dryRun: 1 }, { conditions: 'none', jobs: 5 }),
    ]);
    expect(lines).toContain('retention_policy_suspended{namespace="lab",policy="odd"} 0');
    expect(lines).toContain('retention_policy_dry_run{namespace="lab",policy="odd"} 0');
  });
});
