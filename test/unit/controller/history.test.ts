import { describe, expect, it } from 'vitest';
import type { RunResult } from '../../../src/api/run-result.ts';
import type { JobStatus } from '../../../src/api/status.ts';
import {
  earliestNextRun,
  type JobStatusInput,
  jobStatuses,
  lastRun,
  mergeRuns,
} from '../../../src/controller/history.ts';
import { cronJobOf, jobOfRun, runOf } from '../../support/controller-objects.ts';

const now = new Date('2026-03-01T12:00:00.123Z');
const asked = (schedule = '0 3 * * *', timeZone = 'Etc/UTC') => ({
  schedules: new Map([['nightly', schedule]]),
  timeZone,
});
const nightly = (input: Partial<JobStatusInput>) =>
  jobStatuses({
    names: ['nightly'],
    wanted: asked(),
    idle: false,
    cronJobs: [cronJobOf('nightly')],
    jobs: [],
    previous: [],
    now,
    ...input,
  })[0]!;
const stored = (entry: Partial<JobStatus>): Partial<JobStatusInput> => ({ previous: [{ name: 'nightly', ...entry }] });

describe('the status of a job', () => {
  it('shows its CronJob, its next run, and how many runs are under way', () => {
    const jobs = [jobOfRun('a'), jobOfRun('b', { ended: { type: 'Complete' } }), jobOfRun('c', { job: 'other' })];
    expect(nightly({ jobs })).toEqual({
      name: 'nightly',
      cronJob: 'smartem-nightly',
      schedule: '0 3 * * *',
      timeZone: 'Etc/UTC',
      scheduledSince: '2026-03-01T12:00:00Z',
      nextRun: '2026-03-02T03:00:00Z',
      active: 1,
    });
  });

  it('has neither next run nor start of its schedule while suspended', () => {
    const cronJobs = [cronJobOf('nightly', { suspend: true })];
    const { nextRun, scheduledSince, schedule } = nightly({ cronJobs, idle: true });
    expect({ nextRun, scheduledSince, schedule }).toEqual({
      nextRun: undefined,
      scheduledSince: undefined,
      schedule: '0 3 * * *',
    });
  });

  it('has a next run in dry run, but no start of its schedule: it need not succeed', () => {
    const { nextRun, scheduledSince } = nightly({ idle: true });
    expect({ nextRun, scheduledSince }).toEqual({ nextRun: '2026-03-02T03:00:00Z', scheduledSince: undefined });
  });

  const former = { schedule: '0 3 * * *', timeZone: 'Etc/UTC', scheduledSince: '2026-01-01T00:00:00Z' };

  it('without a CronJob has the schedule that the spec asks for, and what is remembered', () => {
    const remembered = { ...former, lastSuccessTime: '2026-01-01T00:00:00Z' };
    expect(nightly({ cronJobs: [], ...stored(remembered) })).toEqual({ name: 'nightly', active: 0, ...remembered });
  });

  it.each([
    ['the spec asks for another, and the CronJob cannot be changed', { schedule: '0 0 1 1 *' }],
    ['another has changed the CronJob', { schedule: '0 4 * * *', timeZone: 'Asia/Tokyo' }],
    ['a Stalled policy has suspended the CronJob', { suspend: true }],
  ])('has the schedule of the spec, and keeps its start, where %s', (_, live) => {
    const { nextRun: _next, ...status } = nightly({ cronJobs: [cronJobOf('nightly', live)], ...stored(former) });
    expect(status).toMatchObject(former);
  });

  it.each([
    ['cannot be read', asked('at dawn')],
    ['never fires', asked('0 0 30 2 *')],
    ['has a time zone that there is not', asked('0 3 * * *', 'Mars/Olympus')],
  ])('has the schedule of its CronJob, and keeps its start, where the one of the spec %s', (_, wanted) => {
    const cronJobs = [cronJobOf('nightly', { suspend: true })];
    expect(nightly({ cronJobs, wanted, ...stored(former) })).toMatchObject(former);
  });

  it('shows when the CronJob fires, also where that is not when the spec asks for', () => {
    const cronJobs = [cronJobOf('nightly', { schedule: '0 4 * * *', timeZone: 'Asia/Tokyo' })];
    expect(nightly({ cronJobs }).nextRun).toBe('2026-03-01T19:00:00Z');
  });

  it('has the schedule of its CronJob where the spec is not valid, but no start', () => {
    const { schedule, scheduledSince } = nightly({ wanted: undefined, ...stored(former) });
    expect({ schedule, scheduledSince }).toEqual({ schedule: '0 3 * * *', scheduledSince: undefined });
  });

  it.each([
    ['keeps the start of a schedule that stays', {}, asked(), '2026-01-01T00:00:00Z'],
    ['starts anew with another schedule', {}, asked('1 3 * * *'), '2026-03-01T12:00:00Z'],
    ['starts anew with another time zone', {}, asked('0 3 * * *', 'Europe/London'), '2026-03-01T12:00:00Z'],
    ['has no start in the future', { scheduledSince: '2027-01-01T00:00:00Z' }, asked(), '2026-03-01T12:00:00Z'],
    ['has no start that is no time', { scheduledSince: 'long ago' }, asked(), '2026-03-01T12:00:00Z'],
  ])('%s', (_, before, wanted, since) => {
    expect(nightly({ ...stored({ ...former, ...before }), wanted }).scheduledSince).toBe(since);
  });
});

describe('what is remembered of runs', () => {
  const failure = {
    id: 'old',
    result: 'Failed' as const,
    completionTime: '2026-02-01T00:00:00Z',
    message: 'no database',
  };
  const rememberedAfter = (result: RunResult['result'], kept: Partial<JobStatus>) => {
    const run = runOf('nightly', { id: 'new', result, message: 'words' });
    const { lastSuccessTime, lastFailure } = nightly(stored({ ...kept, lastRun: run }));
    return { lastSuccessTime, lastFailure };
  };
  const success = '2026-01-01T00:00:00Z';

  it('a success is the last one, and clears a failure', () => {
    expect(rememberedAfter('Succeeded', { lastFailure: failure })).toEqual({
      lastSuccessTime: '2026-03-01T03:01:00Z',
      lastFailure: undefined,
    });
  });

  it.each(['Failed', 'Blocked', 'Partial'] as const)('%s is a failure, and leaves the last success', (result) => {
    expect(rememberedAfter(result, { lastSuccessTime: success })).toEqual({
      lastSuccessTime: success,
      lastFailure: { id: 'new', result, completionTime: '2026-03-01T03:01:00Z', message: 'words' },
    });
  });

  it.each(['Skipped', 'DryRun'] as const)('%s neither sets nor clears anything', (result) => {
    expect(rememberedAfter(result, { lastSuccessTime: success, lastFailure: failure })).toEqual({
      lastSuccessTime: success,
      lastFailure: failure,
    });
    expect(rememberedAfter(result, {})).toEqual({ lastSuccessTime: undefined, lastFailure: undefined });
  });
});

describe('the time of the last success', () => {
  const success = (completionTime: string, kept: Partial<JobStatus> = {}, input: Partial<JobStatusInput> = {}) => {
    const lastRun = runOf('nightly', { id: 'new', completionTime });
    const { lastSuccessTime, lastSuccessId } = nightly({ ...stored({ ...kept, lastRun }), ...input });
    return { lastSuccessTime, lastSuccessId };
  };

  it('is not in the future, where the clock of the run was', () => {
    expect(success('2027-01-01T00:00:00Z')).toEqual({ lastSuccessTime: '2026-03-01T12:00:00Z', lastSuccessId: 'new' });
  });

  it('stays what it was found to be, now that this future comes nearer, and when it has come', () => {
    const kept = { lastSuccessTime: '2026-03-01T12:00:00Z', lastSuccessId: 'new' };
    for (const later of ['2026-03-02T12:00:00Z', '2027-02-01T00:00:00Z']) {
      expect(success('2027-01-01T00:00:00Z', kept, { now: new Date(later) })).toEqual(kept);
    }
  });

  it('is not before its Job was there, where the clock of the run was behind, nor after now', () => {
    const jobs = (startTime: string) => [jobOfRun('new', { startTime })];
    const behind = (startTime: string) => success('2020-01-01T00:00:00Z', {}, { jobs: jobs(startTime) });
    expect(behind('2026-03-01T03:00:00Z').lastSuccessTime).toBe('2026-03-01T03:00:00Z');
    expect(behind('2026-03-01T13:00:00Z').lastSuccessTime).toBe('2026-03-01T12:00:00Z');
    const right = success('2026-03-01T03:05:00Z', {}, { jobs: jobs('2026-03-01T03:00:00Z') });
    expect(right.lastSuccessTime).toBe('2026-03-01T03:05:00Z');
  });

  it('from before is now where it is in the future, and none where it is no time', () => {
    const lastRun = runOf('nightly', { result: 'Skipped' });
    const kept = (lastSuccessTime: string) => nightly(stored({ lastSuccessTime, lastRun })).lastSuccessTime;
    expect(kept('2027-01-01T00:00:00Z')).toBe('2026-03-01T12:00:00Z');
    expect(kept('yesterday')).toBeUndefined();
    expect(kept('2026-01-01T00:00:00Z')).toBe('2026-01-01T00:00:00Z');
  });
});

describe('the history of a policy', () => {
  const early = runOf('heartbeat', { id: 'h1', completionTime: '2026-03-01T02:45:01Z' });
  const late = runOf('nightly', { id: 'n1', result: 'Partial', message: 'x'.repeat(300) });

  it('has each run once, newest first, with its words cut', () => {
    const jobs = [
      { name: 'heartbeat', lastRun: early },
      { name: 'nightly', lastRun: late },
    ];
    const runs = mergeRuns([], jobs, 10);
    expect(runs.map(({ id, result }) => [id, result])).toEqual([
      ['n1', 'Partial'],
      ['h1', 'Succeeded'],
    ]);
    expect(runs[0]!.message).toHaveLength(256);
    expect(mergeRuns(runs, jobs, 10)).toEqual(runs);
    expect(mergeRuns(runs, jobs, 1).map(({ id }) => id)).toEqual(['n1']);
    expect(mergeRuns(runs, jobs, 0)).toEqual([]);
  });

  it('shows the run that ended last, with the worst result of all jobs and its words', () => {
    const bad = runOf('nightly', { id: 'n2', result: 'Failed', message: 'no database' });
    const newer = runOf('heartbeat', { id: 'h2', completionTime: '2026-03-01T03:15:00Z', message: 'closed 3' });
    const jobs = [
      { name: 'heartbeat', lastRun: newer },
      { name: 'nightly', lastRun: bad },
    ];
    expect(lastRun(jobs)).toMatchObject({
      id: 'h2',
      job: 'heartbeat',
      result: 'Failed',
      message: 'nightly: no database',
    });
    expect(lastRun([jobs[0]!])).toMatchObject({ id: 'h2', result: 'Succeeded', message: 'closed 3' });
    expect(lastRun([{ name: 'nightly' }])).toBeUndefined();
  });

  it('next runs at the earliest time of its jobs', () => {
    const jobs = [
      { name: 'a', nextRun: '2026-03-02T03:00:00Z' },
      { name: 'b', nextRun: '2026-03-01T12:15:00Z' },
      { name: 'c' },
    ];
    expect(earliestNextRun(jobs)).toBe('2026-03-01T12:15:00Z');
    expect(earliestNextRun([{ name: 'c' }])).toBeUndefined();
  });
});
