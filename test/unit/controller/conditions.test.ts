import { describe, expect, it } from 'vitest';
import type { Condition } from '../../../src/api/status.ts';
import { conditions, type Findings, overdueJobs } from '../../../src/controller/conditions.ts';
import { runOf } from '../../support/controller-objects.ts';

const now = new Date('2026-03-01T12:00:00Z');
const succeeded = { name: 'nightly', cronJob: 'smartem-nightly', lastSuccessTime: '2026-03-01T03:01:00Z' };
const failure = { id: 'n1', result: 'Failed' as const, completionTime: '2026-03-01T03:01:00Z', message: 'no database' };
const find = (all: Condition[], type: string) => all.find((condition) => condition.type === type);

function conditionsOf(findings: Partial<Findings>, previous: Condition[] = []): Condition[] {
  const healthy = {
    generation: 3,
    suspended: false,
    dryRun: false,
    stopping: [],
    jobs: [succeeded],
    notStarted: [],
    overdue: [],
  };
  return conditions(previous, { ...healthy, ...findings }, now);
}
const lastRunSucceeded = (findings: Partial<Findings>) => find(conditionsOf(findings), 'LastRunSucceeded');

describe('the conditions of a policy', () => {
  it('are Ready and LastRunSucceeded when all is well', () => {
    expect(conditionsOf({}).map(({ type, status, reason }) => [type, status, reason])).toEqual([
      ['Ready', 'True', 'Scheduled'],
      ['LastRunSucceeded', 'True', 'RunsSucceeded'],
    ]);
  });

  it('say Suspended, which is Ready too', () => {
    expect(find(conditionsOf({ suspended: true }), 'Ready')).toMatchObject({ status: 'True', reason: 'Suspended' });
  });

  it('name in Ready the runs that are still being stopped, whatever it says', () => {
    const stalled = { reason: 'Overlap', message: 'another policy …' };
    for (const findings of [{}, { suspended: true }, { stalled }]) {
      const { message } = find(conditionsOf(findings), 'Ready')!;
      const stopping = find(conditionsOf({ ...findings, stopping: ['n1', 'n2'] }), 'Ready')!.message;
      expect(stopping).toBe(`${message}. Still being stopped: Job n1, n2`);
    }
  });

  it('have Stalled while it holds, and are not Ready for the same reason, of this generation', () => {
    const stalled = { reason: 'Overlap', message: 'another policy …' };
    const all = conditionsOf({ stalled });
    expect(find(all, 'Ready')).toMatchObject({ status: 'False', observedGeneration: 3, ...stalled });
    expect(find(all, 'Stalled')).toMatchObject({ status: 'True', observedGeneration: 3, ...stalled });
    expect(find(all, 'Reconciling')).toBeUndefined();
  });

  it('have Reconciling while something is tried again', () => {
    const all = conditionsOf({ retrying: { reason: 'Forbidden', message: 'exceeded quota' } });
    expect(find(all, 'Ready')).toMatchObject({ status: 'False', reason: 'Forbidden' });
    expect(find(all, 'Reconciling')).toMatchObject({ status: 'True', message: 'exceeded quota' });
    expect(find(all, 'Stalled')).toBeUndefined();
  });

  it('have IndexAdvised while the newest run of any job advises one, and are no less Ready for it', () => {
    const advised = (job: string, saving: string) => {
      const indexAdvice = [{ table: 'agentsession', statements: ['create index i …', 'analyze t'], saving }];
      return { ...succeeded, name: job, lastRun: runOf(job, { indexAdvice }) };
    };
    const jobs = [advised('nightly', 'reads 100 rows'), advised('weekly', 'reads 200 rows'), succeeded];
    const all = conditionsOf({ jobs });
    expect(all.map(({ type, status }) => [type, status])).toEqual([
      ['Ready', 'True'],
      ['LastRunSucceeded', 'True'],
      ['IndexAdvised', 'True'],
    ]);
    expect(find(all, 'IndexAdvised')).toMatchObject({
      reason: 'IndexMissing',
      message: 'reads 200 rows. SQL: create index i …; analyze t;',
    });
    expect(
      find(conditionsOf({ jobs: [{ ...succeeded, lastRun: runOf('nightly') }] }, all), 'IndexAdvised'),
    ).toBeUndefined();
  });

  it('have messages of 4,096 characters at most', () => {
    const long = 'x'.repeat(40_000);
    for (const { message } of conditionsOf({ stalled: { reason: 'InvalidRunner', message: long } })) {
      expect(message.length).toBeLessThanOrEqual(4096);
    }
    expect(lastRunSucceeded({ notStarted: [{ job: 'nightly', message: long }] })!.message).toHaveLength(4096);
  });

  it('change their transition time with their status alone', () => {
    const past = conditionsOf({}).map((condition) => ({ ...condition, lastTransitionTime: '2026-01-01T00:00:00Z' }));
    const times = (all: Condition[]) => all.map(({ type, lastTransitionTime }) => [type, lastTransitionTime]);
    expect(times(conditionsOf({ suspended: true, generation: 4 }, past))).toEqual([
      ['Ready', '2026-01-01T00:00:00Z'],
      ['LastRunSucceeded', '2026-01-01T00:00:00Z'],
    ]);
    const failed = [{ ...succeeded, lastFailure: failure }];
    expect(times(conditionsOf({ jobs: failed }, past))).toEqual([
      ['Ready', '2026-01-01T00:00:00Z'],
      ['LastRunSucceeded', '2026-03-01T12:00:00Z'],
    ]);
  });
});

describe('LastRunSucceeded', () => {
  it('is Unknown until every job has run', () => {
    expect(lastRunSucceeded({ jobs: [succeeded, { name: 'weekly' }] })).toMatchObject({
      status: 'Unknown',
      reason: 'NoRunYet',
      message: 'No run that changes rows has ended yet of: weekly',
    });
  });

  it('is True, and names the rows that no run takes, as the newest runs counted them', () => {
    const counted = { skipped: 0, batches: 0, durationSeconds: 0 };
    const lastRun = runOf('nightly', {
      operations: [
        { name: 'instructions', ...counted, uncovered: 12, undated: 0 },
        { name: 'sessions', ...counted, undated: 3 },
      ],
    });
    expect(lastRunSucceeded({ jobs: [{ ...succeeded, lastRun }] })).toMatchObject({
      status: 'True',
      reason: 'RunsSucceeded',
      message:
        'The newest run of every job succeeded. Never taken: nightly: 12 instructions are past their age in a status that is not taken; nightly: 3 sessions have no time to count their age from',
    });
  });

  it('is Unknown in a dry run, whatever succeeded before, and says when rows were last changed', () => {
    const earlier = { name: 'weekly', lastSuccessTime: '2026-02-27T03:01:00Z' };
    expect(lastRunSucceeded({ dryRun: true, jobs: [earlier, succeeded] })).toMatchObject({
      status: 'Unknown',
      reason: 'DryRun',
      message: expect.stringContaining('change nothing; the newest run that did ended at 2026-03-01T03:01:00Z.'),
    });
    expect(lastRunSucceeded({ dryRun: true, jobs: [{ name: 'new' }] })).toMatchObject({
      status: 'Unknown',
      message: expect.stringContaining('no run has changed rows yet'),
    });
  });

  it('is False in a dry run too where runs fail, do not start or are overdue', () => {
    const problem = [{ job: 'nightly', message: 'why' }];
    for (const findings of [
      { jobs: [{ ...succeeded, lastFailure: failure }] },
      { notStarted: problem },
      { overdue: problem },
    ]) {
      expect(lastRunSucceeded({ dryRun: true, ...findings })).toMatchObject({ status: 'False' });
    }
  });

  it('is False while any job’s failure stands, however often another succeeds, and names job, result and words', () => {
    const jobs = [
      { name: 'heartbeat', lastSuccessTime: '2026-03-01T11:59:00Z' },
      { ...succeeded, lastFailure: failure },
    ];
    expect(lastRunSucceeded({ jobs })).toMatchObject({
      status: 'False',
      reason: 'RunFailed',
      message: 'nightly: Failed: no database',
    });
  });

  it('has the worst of several failures as its reason', () => {
    const jobs = [
      { name: 'a', lastFailure: { ...failure, result: 'Partial' as const } },
      { name: 'b', lastFailure: { ...failure, result: 'Blocked' as const, message: undefined } },
    ];
    expect(lastRunSucceeded({ jobs })).toMatchObject({
      reason: 'RunBlocked',
      message: 'a: Partial: no database; b: Blocked: see the log of Job n1',
    });
  });

  it('is False while a runner cannot start, whatever was before', () => {
    const notStarted = [{ job: 'nightly', message: 'The image cannot be pulled' }];
    expect(lastRunSucceeded({ notStarted })).toMatchObject({
      status: 'False',
      reason: 'RunnerNotStarted',
      message: 'nightly: The image cannot be pulled',
    });
  });

  it('is False for a job that is overdue', () => {
    const overdue = [{ job: 'nightly', message: 'has not succeeded since …' }];
    expect(lastRunSucceeded({ overdue })).toMatchObject({ status: 'False', reason: 'Overdue' });
  });

  it.each([
    [
      'a runner cannot start',
      { notStarted: [{ job: 'weekly', message: 'no such image' }] },
      'RunnerNotStarted: weekly: no such image',
    ],
    [
      'another job fails',
      { jobs: [{ ...succeeded, lastFailure: failure }] },
      'RunFailed: nightly: Failed: no database',
    ],
    ['another has not run yet', { jobs: [{ name: 'nightly' }] }, ''],
  ])('says first that a job is overdue, and then that %s', (_, findings, also) => {
    const overdue = [{ job: 'hourly', message: 'has not succeeded since …' }];
    const message = `hourly: has not succeeded since …${also && `. ${also}`}`;
    expect(lastRunSucceeded({ ...findings, overdue })).toMatchObject({ status: 'False', reason: 'Overdue', message });
  });
});

describe('a job is overdue', () => {
  const scheduled = { name: 'hourly', cronJob: 'smartem-hourly', schedule: '0 * * * *', timeZone: 'UTC' };
  const overdue = (entry: object) => overdueJobs([{ ...scheduled, ...entry }], '10m', now);

  it('after two of its times without a success, and as long again as a run may take', () => {
    const scheduledSince = '2026-01-01T00:00:00Z';
    // Its times are 11:00 and 12:00, the grace ends at 12:10.
    expect(overdue({ scheduledSince, lastSuccessTime: '2026-03-01T10:30:00Z' })).toEqual([]);
    const [found] = overdue({ scheduledSince, lastSuccessTime: '2026-03-01T09:30:00Z' });
    expect(found).toMatchObject({ job: 'hourly' });
    expect(found!.message).toContain('has not succeeded since 2026-03-01T09:30:00Z');
  });

  it('counted from when its schedule came into force, if that is later', () => {
    expect(overdue({ scheduledSince: '2026-03-01T11:30:00Z', lastSuccessTime: '2026-01-01T00:00:00Z' })).toEqual([]);
    expect(overdue({ scheduledSince: '2026-03-01T00:00:00Z' })[0]!.message).toContain('since its schedule began');
  });

  it('without a CronJob too, and says so', () => {
    const entry = { scheduledSince: '2026-01-01T00:00:00Z', cronJob: undefined };
    expect(overdue(entry)[0]!.message).toContain('it has no CronJob, see condition Ready');
  });

  it('never while its schedule is not in force: suspended, or in dry run', () => {
    expect(overdue({ lastSuccessTime: '2026-01-01T00:00:00Z' })).toEqual([]);
  });
});
