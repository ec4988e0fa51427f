import { describe, expect, it, onTestFinished, vi } from 'vitest';
import * as cron from '../../../src/controller/cron.ts';
import { nextRun, overdueAt, whyNeverFires } from '../../../src/controller/schedule.ts';
import { policyWith } from '../../support/controller-objects.ts';

vi.mock(import('../../../src/controller/cron.ts'), { spy: true });

const at = (text: string) => new Date(text);
const hour = 3_600_000;

it('that no time follows is found out once, and not at every question', () => {
  const computed = vi.spyOn(cron, 'nextTime');
  onTestFinished(() => computed.mockRestore());
  for (let second = 0; second < 20; second++) {
    const after = new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    expect(nextRun('0 0 31 2,4,6,9,11 *', 'Asia/Tokyo', after)).toBeUndefined();
  }
  expect(computed).toHaveBeenCalledTimes(1);
});

describe('the next run', () => {
  it('is the next time of the schedule in its time zone', () => {
    expect(nextRun('17 3 * * *', 'Europe/London', at('2026-07-01T12:00:00Z'))).toEqual(at('2026-07-02T02:17:00Z'));
    expect(nextRun('17 3 * * *', 'Europe/London', at('2026-01-01T12:00:00Z'))).toEqual(at('2026-01-02T03:17:00Z'));
  });

  it('comes after the given instant, not at it', () => {
    expect(nextRun('0 * * * *', 'UTC', at('2026-01-01T12:00:00Z'))).toEqual(at('2026-01-01T13:00:00Z'));
  });

  it.each(['@daily', '5/15 * * * *', '0 0 ? * MON-FRI', '*/7 3-5 1,15 * *'])(
    'knows what Kubernetes knows: %s',
    (cron) => {
      expect(nextRun(cron, 'UTC', at('2026-01-01T12:00:00Z'))).toBeInstanceOf(Date);
    },
  );

  it.each([
    ['*/90 * * * *', '2026-01-01T13:00:00Z'],
    ['5/90 * * * *', '2026-01-01T12:05:00Z'],
    ['10-20/1000 * * * *', '2026-01-01T12:10:00Z'],
    ['0 */25 * * *', '2026-01-02T00:00:00Z'],
    ['0 0 */40 * *', '2026-02-01T00:00:00Z'],
    ['0 0 1 */13 *', '2027-01-01T00:00:00Z'],
    ['0 0 * * MON/9', '2026-01-05T00:00:00Z'],
  ])('has the first value only of a field whose step is longer than it, as to Kubernetes: %s', (cron, next) => {
    expect(nextRun(cron, 'UTC', at('2026-01-01T12:00:00Z'))).toEqual(at(next));
  });

  it.each([
    ['six fields', '0 0 3 * * *', 'UTC'],
    ['nonsense', 'every night', 'UTC'],
    ['nothing but a comma', '0 3 , * *', 'UTC'],
    ['a day that never comes', '0 0 31 2 *', 'UTC'],
    ['an unknown time zone', '0 3 * * *', 'Mars/Olympus'],
  ])('is unknown for %s', (_, cron, zone) => {
    expect(nextRun(cron, zone, at('2026-01-01T12:00:00Z'))).toBeUndefined();
  });
});

it('the answer is the same whatever was asked before', () => {
  const [schedule, zone] = ['*/20 0-2,12 * * *', 'Europe/London'];
  const parsed = cron.parseCron(schedule)!;
  const next = (after: Date) => new Date(cron.nextTime(parsed, zone, after.getTime() / 1000)! * 1000);
  // Around the clocks' change, back and forth, a second before and after each time too.
  for (const day of ['2026-03-29', '2026-10-25']) {
    const start = at(`${day}T00:00:00Z`).getTime();
    for (let step = 0; step < 300; step++) {
      const after = new Date(start + ((step * 97) % 300) * 300_000 - ((step * 7) % 3) * 500);
      expect(nextRun(schedule, zone, after)).toEqual(next(after));
      const second = next(next(after));
      expect(overdueAt(schedule, zone, after, 60_000)).toEqual(new Date(second.getTime() + 60_000));
    }
  }
});

describe('a policy has a schedule that never fires', () => {
  const job = { name: 'a', operations: ['sessions'] };
  const why = (spec: Record<string, unknown>) => whyNeverFires(policyWith(spec).spec);

  it.each([
    ['spec.schedule "0 0 30 2 *"', { schedule: '0 0 30 2 *' }],
    [
      'spec.schedule "0 0 31 4 ?"',
      {
        schedule: '0 0 31 4 ?',
        jobs: [
          { ...job, schedule: '@daily' },
          { ...job, name: 'b' },
        ],
      },
    ],
    ['spec.jobs[1].schedule "0 0 30,31 feb *"', { jobs: [job, { ...job, name: 'b', schedule: '0 0 30,31 feb *' }] }],
    ['spec.statistics.schedule "0 0 31 2,4,6,9,11 *"', { statistics: { schedule: '0 0 31 2,4,6,9,11 *' } }],
  ])('%s', (field, spec) => {
    expect(why(spec)?.startsWith(`${field} never fires: `)).toBe(true);
  });

  it.each([
    ['leap days', { schedule: '0 0 29 2 *' }],
    ['Mondays or the 30th, in February', { schedule: '0 0 30 2 1' }],
    ['a comma too many', { schedule: '0 3 * * 1,2,' }],
    ['that no job uses', { schedule: '0 0 30 2 *', jobs: [{ ...job, schedule: '@daily' }] }],
    ['that cannot be read, which the API server says', { schedule: '5-3 * * * *' }],
  ])('but not with one of %s', (_, spec) => {
    expect(why(spec)).toBeUndefined();
  });
});

describe('a job is overdue', () => {
  const since = at('2026-01-01T12:30:00Z');

  it('at its second time since then, and as much later as a run may take', () => {
    expect(overdueAt('0 3 * * *', 'UTC', since, hour)).toEqual(at('2026-01-03T04:00:00Z'));
  });

  it('but not more than a period later', () => {
    expect(overdueAt('*/15 * * * *', 'UTC', since, hour)).toEqual(at('2026-01-01T13:15:00Z'));
  });

  it.each(['posix/Asia/Tokyo', 'Factory', 'America/Coyhaique_tomorrow'])(
    'a day later at most, and not too early, in a zone that is not known here: %s',
    (zone) => {
      expect(nextRun('0 3 * * *', zone, since)).toBeUndefined();
      const due = overdueAt('0 3 * * *', zone, since, hour)!.getTime() - since.getTime();
      expect(due).toBeGreaterThan(48 * hour);
      expect(due).toBeLessThan((49 + 24 + 28) * hour);
    },
  );

  it('never, if its schedule or the instant cannot be read', () => {
    expect(overdueAt('nonsense', 'UTC', since, hour)).toBeUndefined();
    expect(overdueAt('0 3 * * *', 'UTC', new Date(Number.NaN), hour)).toBeUndefined();
  });
});
