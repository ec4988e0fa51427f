import { describe, expect, it } from 'vitest';
import type { RunResult } from '../../../src/api/run-result.ts';
import { desiredObjects } from '../../../src/controller/desired.ts';
import { explained, stoppedAnnotation } from '../../../src/controller/stopped.ts';
import { replaces, unreportedJob, unreportedRun } from '../../../src/controller/unreported.ts';
import { image, jobOfRun, podWith, policyWith, runOf } from '../../support/controller-objects.ts';

const failed = { type: 'Failed', reason: 'BackoffLimitExceeded' } as const;
const complete = { type: 'Complete' } as const;
const early = jobOfRun('n1', {
  ended: { ...complete, lastTransitionTime: '2026-03-01T03:05:00Z' },
  startTime: '2026-03-01T03:00:00Z',
});
const late = jobOfRun('n2', {
  ended: { ...failed, lastTransitionTime: '2026-03-02T03:05:00Z' },
  startTime: '2026-03-02T03:00:00Z',
});
const runningNow = jobOfRun('n3', { startTime: '2026-03-03T03:00:00Z' });

describe('the Job whose run is not in the status', () => {
  it('is the one of the job’s that finished last', () => {
    const other = jobOfRun('o1', { job: 'other', ended: { ...failed, lastTransitionTime: '2026-03-04T03:00:00Z' } });
    expect(unreportedJob([early, late, runningNow, other], 'nightly', undefined)).toBe(late);
  });

  const at = (completionTime: string, id: string) =>
    runOf('nightly', { id, startTime: '2026-03-01T01:00:00Z', completionTime });

  it('is none if that is there, or one that ended later, however early it started', () => {
    expect(unreportedJob([early, late], 'nightly', at('2026-03-02T03:04:58.123Z', 'n2'))).toBeUndefined();
    expect(unreportedJob([early, late], 'nightly', at('2026-03-02T04:00:00.123Z', 'long'))).toBeUndefined();
    expect(unreportedJob([runningNow], 'nightly', undefined)).toBeUndefined();
  });

  it('is the last if one that ended before is there', () => {
    expect(unreportedJob([early, late], 'nightly', at('2026-03-01T03:04:00Z', 'n1'))).toBe(late);
  });

  it('is the one that is there if it went on long after, in a second Pod', () => {
    expect(unreportedJob([early, late], 'nightly', at('2026-03-02T03:01:00Z', 'n2'))).toBe(late);
  });
});

describe('what a Job left takes the place of the run that is in the status', () => {
  const stored = runOf('nightly', { id: 'n2', completionTime: '2026-03-02T03:01:00Z', result: 'Partial' });
  const run = (fields: Partial<RunResult>) =>
    runOf('nightly', { startTime: '2026-03-02T02:00:00Z', completionTime: '2026-03-02T03:02:00Z', ...fields });

  it('if it ended later', () => {
    expect(replaces(run({ id: 'n3' }), stored)).toBe(true);
    expect(replaces(run({ id: 'n3', completionTime: '2026-03-02T03:00:30Z' }), stored)).toBe(false);
    expect(replaces(run({ id: 'n3' }), undefined)).toBe(true);
  });

  it('of the same Job only if it is another Pod’s, which started after that', () => {
    expect(replaces(run({ id: 'n2' }), stored)).toBe(false);
    expect(replaces(run({ id: 'n2', startTime: '2026-03-02T03:01:10Z' }), stored)).toBe(true);
  });
});

describe('the result of a run that did not report', () => {
  const ended = (terminated: object) => podWith({ terminated });
  const times = { startedAt: '2026-03-02T03:00:05Z', finishedAt: '2026-03-02T03:00:25Z' };

  it('is what its Pod’s termination message says', () => {
    const left = runOf('nightly', { id: 'n2', result: 'Partial', rows: 1234 });
    const pods = [ended({ exitCode: 4, message: JSON.stringify(left) })];
    expect(unreportedRun({ job: late, pods, events: [] })).toEqual(left);
  });

  it('is not what another run wrote', () => {
    const pods = [ended({ exitCode: 1, message: JSON.stringify(runOf('nightly', { id: 'other' })) })];
    expect(unreportedRun({ job: late, pods, events: [] })).toMatchObject({ id: 'n2', result: 'Failed' });
  });

  it('is Failed with what the Pod’s end tells, and its times', () => {
    const pods = [ended({ exitCode: 137, reason: 'OOMKilled', ...times })];
    expect(unreportedRun({ job: late, pods, events: [] })).toEqual({
      id: 'n2',
      job: 'nightly',
      trigger: 'Schedule',
      startTime: '2026-03-02T03:00:05.000Z',
      completionTime: '2026-03-02T03:00:25.000Z',
      durationSeconds: 20,
      result: 'Failed',
      rows: 0,
      operations: [],
      message: expect.stringContaining('its limit of 256Mi'),
    });
  });

  it.each([
    [3, 'Blocked'],
    [4, 'Partial'],
    [5, 'Skipped'],
  ])('is what exit code %i means: %s', (exitCode, result) => {
    const pods = [ended({ exitCode, message: '{"msg":"last words"}' })];
    expect(unreportedRun({ job: late, pods, events: [] })).toMatchObject({ result, message: 'last words' });
  });

  it('of a Job that is complete is a success, or a dry run, as the Job was asked', () => {
    expect(unreportedRun({ job: early, pods: [], events: [] })).toMatchObject({ result: 'Succeeded', rows: 0 });
    const policy = policyWith({ dryRun: true });
    const { spec } = desiredObjects(policy, image).cronJobs[0]!.spec!.jobTemplate;
    const job = jobOfRun('n1', { ended: complete, spec });
    expect(unreportedRun({ job, pods: [], events: [] })).toMatchObject({ result: 'DryRun' });
  });
});

describe('the run of a Job that the controller stopped', () => {
  const why = 'the policy changed (retention)';
  const stopped = { ...late, metadata: { ...late.metadata, annotations: { [stoppedAnnotation]: why } } };
  const partial = (message?: string) => runOf('nightly', { id: 'n2', result: 'Partial', rows: 12, message });

  it.each([
    ['stopped: SIGTERM received; acknowledgements are kept', `stopped: ${why}; acknowledgements are kept`],
    ['instructions failed: a lock', `stopped: ${why}; instructions failed: a lock`],
    [`stopped: ${why}`, `stopped: ${why}`],
  ])('says why: %s', (message, expected) => {
    expect(explained(partial(message), stopped)).toEqual(partial(expected));
  });

  it('stays as it is where it had done all, failed by itself, or was not stopped', () => {
    const runs = [runOf('nightly'), runOf('nightly', { result: 'Failed', message: 'no database' })];
    for (const run of runs) expect(explained(run, stopped)).toBe(run);
    for (const job of [late, undefined]) expect(explained(partial('x'), job)).toEqual(partial('x'));
  });

  it('is Partial where it left no result, and what it left in its Pod otherwise', () => {
    const killed = { job: stopped, pods: [podWith({ terminated: { exitCode: 137 } })], events: [] };
    expect(unreportedRun(killed)).toMatchObject({
      result: 'Partial',
      message: `stopped: ${why}; its Pod was killed before it could report: what it had committed stays`,
    });
    const message = JSON.stringify(partial('stopped: SIGTERM received'));
    const left = { job: stopped, pods: [podWith({ terminated: { exitCode: 4, message } })], events: [] };
    expect(unreportedRun(left)).toEqual(partial(`stopped: ${why}`));
  });
});
