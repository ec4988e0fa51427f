import { z } from 'zod';
import { suspendedUntil } from '../api/policy.ts';
import { statisticsJob } from '../api/spec.ts';
import type { RetentionPolicyStatus } from '../api/status.ts';
import { contestedReasons } from './foreign-changes.ts';
import { parseStatus, type StoredPolicy } from './objects.ts';

/** One line of a policy's metrics, but for the labels that say which policy. */
interface Sample {
  metric: PolicyMetric;
  labels?: Record<string, string>;
  value: number;
}

export const policyMetricPrefix = 'retention_policy_';
const job = ['job'];
/** Names, what they say, and their labels besides `namespace` and `policy`. All are gauges. */
export const policyMetrics = {
  info: { help: 'Always 1; what the policy is.', labels: ['preset', 'time_zone'] },
  suspended: { help: '1 while spec.suspend or the annotation says that no run starts.', labels: [] },
  dry_run: { help: '1 while runs only count what they would change because spec.dryRun is true.', labels: [] },
  ready: { help: '1 if the CronJobs are what the policy asks for.', labels: [] },
  stalled: { help: '1 if nothing runs until somebody repairs the policy, or what is in its way.', labels: [] },
  contested: {
    help: '1 while others keep changing what the controller writes, so that it is not in place.',
    labels: [],
  },
  overdue: { help: '1 if a job has not succeeded for two of its periods.', labels: [] },
  last_run_failed: {
    help: '1 if the newest run of a job did not succeed; 0 again with the next success.',
    labels: job,
  },
  last_success_timestamp_seconds: { help: 'When a run of a job last succeeded.', labels: job },
  last_run_duration_seconds: { help: 'How long the newest run of a job took.', labels: job },
  last_run_rows: {
    help: 'Rows that the newest run of a job closed, archived or deleted; in a dry run those that it would.',
    labels: ['job', 'operation', 'action'],
  },
  last_run_left_rows: {
    help: 'Rows that the newest run of a job left: skipped because others held them locked twice, failed because the database refuses to change them, undated because they have no age, uncovered because of their status.',
    labels: ['job', 'operation', 'reason'],
  },
  already_archived_rows: {
    help: 'Rows past their age whose content is the note of an earlier run.',
    labels: ['job', 'operation'],
  },
  next_run_timestamp_seconds: { help: 'When a job starts next.', labels: job },
  due_rows: { help: 'Rows due per operation, by the newest statistics.', labels: ['operation'] },
  oldest_row_timestamp_seconds: {
    help: 'Creation time of the oldest row of each kind of record, by the newest statistics.',
    labels: ['record'],
  },
} as const;

type PolicyMetric = keyof typeof policyMetrics;
/** Policies that are read at a time: some milliseconds. */
const policiesAtOnce = 100;

/**
 * The metrics of these policies in Prometheus' text format, made anew at each scrape: a policy's go when it goes. Not by
 * prom-client, which would hold every series in between and make all of the text at once; this lets others work meanwhile.
 */
export async function policyMetricsText(policies: StoredPolicy[]): Promise<string> {
  const text = new Map<string, string[]>();
  for (const [metric, { help }] of Object.entries(policyMetrics)) {
    const name = policyMetricPrefix + metric;
    text.set(metric, [`# HELP ${name} ${help}`, `# TYPE ${name} gauge`]);
  }
  for (let start = 0; start < policies.length; start += policiesAtOnce) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    const some = policies.slice(start, start + policiesAtOnce);
    // Joined at once: tens of thousands of lines would outlive quick collections of garbage.
    for (const [metric, lines] of Map.groupBy(some.flatMap(linesOf), ([metric]) => metric)) {
      text.get(metric)!.push(lines.map(([, line]) => line).join('\n'));
    }
  }
  return [...text.values()].flat().join('\n');
}

function linesOf(policy: StoredPolicy): [PolicyMetric, string][] {
  const { namespace = '', name } = policy.metadata;
  return samplesOf(policy).map(({ metric, labels, value }) => [
    metric,
    line(metric, { namespace, policy: name, ...labels }, value),
  ]);
}

function line(metric: PolicyMetric, labels: Record<string, string>, value: number): string {
  const pairs = Object.entries(labels).map(([name, text]) => `${name}="${escaped(text)}"`);
  return `${policyMetricPrefix}${metric}{${pairs.join(',')}} ${value}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

const shown = z.object({
  preset: z.string().catch(''),
  timeZone: z.string().catch(''),
  suspend: z.boolean().catch(false),
  dryRun: z.boolean().catch(false),
});

/** A policy's metrics, from what is stored. */
function samplesOf(stored: StoredPolicy): Sample[] {
  const { preset, timeZone, suspend, dryRun } = shown.parse(stored.spec ?? {});
  const status = parseStatus(stored);
  const condition = (type: string) => status.conditions?.find((each) => each.type === type);
  const flag = (metric: Sample['metric'], holds: boolean): Sample => ({ metric, value: holds ? 1 : 0 });
  return [
    { metric: 'info', labels: { preset, time_zone: timeZone }, value: 1 },
    flag('suspended', suspendedUntil(stored.metadata.annotations, suspend) !== undefined),
    flag('dry_run', dryRun),
    flag('ready', condition('Ready')?.status === 'True'),
    flag('stalled', condition('Stalled')?.status === 'True'),
    flag('contested', contestedReasons.has(condition('Ready')?.reason ?? '')),
    flag('overdue', condition('LastRunSucceeded')?.reason === 'Overdue'),
    ...(status.jobs ?? []).flatMap(samplesOfJob),
    ...samplesOfStatistics(status),
  ];
}

function samplesOfJob({
  name,
  lastRun,
  lastFailure,
  lastSuccessTime,
  nextRun,
}: NonNullable<RetentionPolicyStatus['jobs']>[number]): Sample[] {
  const labels = { job: name };
  const samples: Sample[] = [];
  const time = (metric: Sample['metric'], text: string | undefined) => {
    if (text !== undefined) samples.push({ metric, labels, value: Date.parse(text) / 1000 });
  };
  if (lastFailure || lastSuccessTime) samples.push({ metric: 'last_run_failed', labels, value: lastFailure ? 1 : 0 });
  time('last_success_timestamp_seconds', lastSuccessTime);
  time('next_run_timestamp_seconds', nextRun);
  if (lastRun) samples.push({ metric: 'last_run_duration_seconds', labels, value: lastRun.durationSeconds });
  for (const operation of lastRun?.operations ?? []) {
    for (const action of ['closed', 'archived', 'deleted'] as const) {
      const value = operation[action];
      if (value === undefined) continue;
      samples.push({ metric: 'last_run_rows', labels: { ...labels, operation: operation.name, action }, value });
    }
    samples.push(...samplesOfLeft(name, operation.name, { failed: 0, ...operation }));
  }
  return samples;
}

const reasons = ['skipped', 'failed', 'undated', 'uncovered'] as const;

/** What a run found that it left, as far as it was counted. */
function samplesOfLeft(
  job: string,
  operation: string,
  left: Partial<Record<(typeof reasons)[number] | 'alreadyArchived', number | undefined>>,
): Sample[] {
  const sample = (metric: Sample['metric'], value: number | undefined, labels: Record<string, string> = {}) =>
    value === undefined ? [] : [{ metric, labels: { job, operation, ...labels }, value }];
  return [
    ...reasons.flatMap((reason) => sample('last_run_left_rows', left[reason], { reason })),
    ...sample('already_archived_rows', left.alreadyArchived),
  ];
}

function samplesOfStatistics({ statistics, jobs = [] }: RetentionPolicyStatus): Sample[] {
  const due = Object.entries(statistics?.due ?? {});
  const oldest = Object.entries(statistics?.oldest ?? {});
  const { undated, uncovered, alreadyArchived } = statistics ?? {};
  // What no job does is none of the policy's business.
  const done = new Set(jobs.flatMap(({ lastRun }) => (lastRun?.operations ?? []).map(({ name }) => name)));
  const left = [...done].flatMap((kind) => {
    const covers = kind === 'sessions' || kind === 'instructions' ? kind : undefined;
    return samplesOfLeft(statisticsJob, kind, {
      undated: undated?.[kind],
      uncovered: covers && uncovered?.[covers]?.reduce((sum, { rows }) => sum + rows, 0),
      alreadyArchived: covers && alreadyArchived?.[covers],
    });
  });
  return [
    ...left,
    ...due.map(([operation, value]): Sample => ({ metric: 'due_rows', labels: { operation }, value })),
    ...oldest.map(
      ([record, time]): Sample => ({
        metric: 'oldest_row_timestamp_seconds',
        labels: { record },
        value: Date.parse(time) / 1000,
      }),
    ),
  ];
}
