import { describe, expect, it } from 'vitest';
import { type RunNow, type RunNowInput, runNow } from '../../../src/controller/run-now.ts';
import { image, jobOfRun, policyWith } from '../../support/controller-objects.ts';

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
    annotations: asked('now'),
    policy: policyWith({ jobs }),
    jobs: [],
    lastHandled: undefined,
    stalled: false,
    runner: image,
    ...input,
  });
const made = (decision: RunNow | undefined) => (decision && 'make' in decision ? decision.make : undefined);
const refused = (decision: RunNow | undefined) => (decision && 'refused' in decision ? decision.refused : undefined);

describe('a request for a run now', () => {
  it('makes a Job of the first job, once per value', () => {
    const decision = decide({});
    expect(decision?.handled).toBe('now');
    expect(made(decision)?.metadata.labels).toMatchObject({ 'retention.agentdata.io/job': 'heartbeat' });
    expect(decide({ lastHandled: 'now' })).toBeUndefined();
    expect(made(decide({ lastHandled: 'earlier' }))?.metadata.name).toBe(made(decision)?.metadata.name);
  });

  it('makes one of the job that is asked for', () => {
    const job = made(decide({ annotations: asked('now', 'nightly') }));
    expect(job?.metadata.labels).toMatchObject({ 'retention.agentdata.io/job': 'nightly' });
  });

  it('is nothing without its annotation', () => {
    expect(decide({ annotations: undefined })).toBeUndefined();
    expect(decide({ annotations: { 'retention.agentdata.io/run-job': 'nightly' } })).toBeUndefined();
  });

  it('is not refused because the Job that it made is running', () => {
    const job = made(decide({}))!;
    expect(decide({ jobs: [job] })).toEqual({ handled: 'now', made: true });
  });

  it.each([
    ['an unknown job', { annotations: asked('now', 'weekly') }, 'no job "weekly" (it has: heartbeat, nightly)'],
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
    expect(decision?.handled).toBe('now');
  });

  it('is not refused because another job runs, or one has run', () => {
    const others = [jobOfRun('n1'), jobOfRun('h1', { job: 'heartbeat', ended: { type: 'Failed' } })];
    expect(made(decide({ jobs: others }))).toBeDefined();
  });

  it('has its value cut to what the status holds', () => {
    const value = 'x'.repeat(2000);
    const handled = decide({ annotations: asked(value) })!.handled;
    expect(handled).toHaveLength(1024);
    expect(decide({ annotations: asked(value), lastHandled: handled })).toBeUndefined();
  });
});
