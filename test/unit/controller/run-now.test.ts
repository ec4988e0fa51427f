import { describe, expect, it } from 'vitest';
import { type RunNow, type RunNowInput, runNow } from '../../../src/controller/run-now.ts';
import { image, jobOfRun, policyWith } from '../../support/controller-objects.ts';

const at = '2026-03-01T04:00:00+00:00';
const jobs = [
  { name: 'heartbeat', operations: ['connections'] },
  { name: 'nightly', operations: ['sessions'] },
];
const asked = (value: string, job?: string) => ({
  'retention.agentdata.io/run-requested-at': value,
  ...(job && { 'retention.agentdata.io/run-job': job }),
});
const decide = (input: Partial<RunNowInput>) =>
  runNow({
    annotations: asked(at),
    policy: policyWith({ jobs }),
    jobs: [],
    lastHandled: undefined,
    stalled: false,
    runner: image,
    createdAt: '2026-01-01T00:00:00Z',
    now: new Date('2026-03-01T04:00:30Z'),
    ...input,
  });
const made = (decision: RunNow | undefined) => (decision && 'make' in decision ? decision.make : undefined);
const refused = (decision: RunNow | undefined) => (decision && 'refused' in decision ? decision.refused : undefined);

describe('a request for a run now', () => {
  it('makes a Job of the first job, once per value', () => {
    const decision = decide({});
    expect(decision?.handled).toBe(at);
    expect(made(decision)?.metadata.labels).toMatchObject({ 'retention.agentdata.io/job': 'heartbeat' });
    expect(decide({ lastHandled: at })).toBeUndefined();
    expect(made(decide({ lastHandled: 'earlier' }))?.metadata.name).toBe(made(decision)?.metadata.name);
  });

  it('makes one of the job that is asked for', () => {
    const job = made(decide({ annotations: asked(at, 'nightly') }));
    expect(job?.metadata.labels).toMatchObject({ 'retention.agentdata.io/job': 'nightly' });
  });

  it('is nothing without its annotation', () => {
    expect(decide({ annotations: undefined })).toBeUndefined();
    expect(decide({ annotations: { 'retention.agentdata.io/run-job': 'nightly' } })).toBeUndefined();
  });

  it('is not refused because the Job that it made is running', () => {
    const job = made(decide({}))!;
    expect(decide({ jobs: [job] })).toEqual({ handled: at, made: true });
  });

  it.each([
    ['an unknown job', { annotations: asked(at, 'weekly') }, 'no job "weekly" (it has: heartbeat, nightly)'],
    ['a suspended policy', { policy: policyWith({ jobs, suspend: true }) }, 'suspended'],
    ['a stalled policy', { stalled: true }, 'Stalled'],
    ['a policy that is not valid', { policy: undefined }, 'Stalled'],
    [
      'a job that is running',
      { jobs: [jobOfRun('h1', { job: 'heartbeat' })] },
      'Job h1 has not finished; delete it if it cannot start',
    ],
  ])('is refused for %s, and handled by that', (_, input, why) => {
    const decision = decide(input);
    expect(refused(decision)).toContain(why);
    expect(decision?.handled).toBe(at);
  });

  it('is not refused because another job runs, or one has run', () => {
    const others = [jobOfRun('n1'), jobOfRun('h1', { job: 'heartbeat', ended: { type: 'Failed' } })];
    expect(made(decide({ jobs: others }))).toBeDefined();
  });

  it.each([
    ['of a restored or copied policy', { createdAt: '2026-03-01T04:00:01Z' }, 'older than the policy itself'],
    ['of years ago', { annotations: asked('2024-03-01T04:00:00Z'), createdAt: '2023-01-01T00:00:00Z' }, '10 minutes'],
    ['eleven minutes old', { now: new Date('2026-03-01T04:11:00Z') }, 'older than 10 minutes'],
    ['of a clock that is fast', { annotations: asked('2026-03-01T04:06:00Z') }, 'in the future'],
    ['that is no time', { annotations: asked('now') }, 'date -Is'],
    ['with a time without a zone', { annotations: asked('2026-03-01T04:00:00') }, 'date -Is'],
    ['with a date alone', { annotations: asked('2026-03-01') }, 'date -Is'],
    ['with a number', { annotations: asked('1772337600') }, 'date -Is'],
  ])('is refused when it is one %s', (_, input, why) => {
    expect(refused(decide(input))).toContain(why);
  });

  it.each([
    ['another zone', '2026-02-28T23:00:00-05:00'],
    ['a fast clock, a little', '2026-03-01T04:04:00Z'],
    ['fractions of a second', '2026-03-01T04:00:00.123456Z'],
  ])('is taken with %s', (_, value) => {
    expect(made(decide({ annotations: asked(value) }))).toBeDefined();
  });

  it('that made its Job long ago stays handled', () => {
    const job = made(decide({}))!;
    expect(decide({ jobs: [job], now: new Date('2026-03-02T04:00:00Z') })).toEqual({ handled: at, made: true });
  });

  it('has its value cut to what the status holds', () => {
    const value = 'x'.repeat(2000);
    const handled = decide({ annotations: asked(value) })!.handled;
    expect(handled).toHaveLength(1024);
    expect(decide({ annotations: asked(value), lastHandled: handled })).toBeUndefined();
  });
});
