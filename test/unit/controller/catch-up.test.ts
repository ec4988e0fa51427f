import { expect, it } from 'vitest';
import { withoutCatchUp } from '../../../src/controller/catch-up.ts';
import { cronJobOf } from '../../support/controller-objects.ts';

const now = new Date('2026-03-01T03:05:00Z');
const wanted = cronJobOf('nightly', { startingDeadlineSeconds: 600, suspend: false });
const live = (spec: object, lastScheduleTime?: string) => {
  const cronJob = cronJobOf('nightly', { startingDeadlineSeconds: 600, ...spec });
  const metadata = { ...cronJob.metadata, creationTimestamp: '2026-01-01T00:00:00Z' };
  return { ...cronJob, metadata, status: { lastScheduleTime } } as typeof cronJob;
};
const deadline = (existing: typeof wanted | undefined, at = now, object = wanted) =>
  withoutCatchUp(object, existing, at).spec!.startingDeadlineSeconds;

it.each([
  ['was suspended', { suspend: true }],
  ['had another schedule', { schedule: '0 5 * * *' }],
  ['had another time zone', { timeZone: 'America/New_York' }],
  ['has the short deadline since', { startingDeadlineSeconds: 10 }],
])('a time that passed while the CronJob %s is not made up for', (_, spec) => {
  expect(deadline(live(spec))).toBe(10);
});

it.each([
  ['there is no CronJob yet', undefined],
  ['the CronJob was there, and the controller manager away', live({})],
  ['its last time has fired', live({ suspend: true }, '2026-03-01T03:00:00Z')],
])('the usual deadline holds where %s', (_, existing) => {
  expect(deadline(existing)).toBe(600);
});

it('the usual deadline comes back when the time that passed is out of its reach, or another has fired', () => {
  const short = live({ startingDeadlineSeconds: 10 });
  expect(deadline(short, new Date('2026-03-01T03:09:59Z'))).toBe(10);
  expect(deadline(short, new Date('2026-03-01T03:10:01Z'))).toBe(600);
  const often = cronJobOf('nightly', { ...wanted.spec, schedule: '* * * * *' });
  const fired = live({ schedule: '* * * * *', startingDeadlineSeconds: 10 }, '2026-03-01T03:05:00Z');
  expect(deadline(fired, new Date('2026-03-01T03:05:30Z'), often)).toBe(600);
});

it('a CronJob that stays suspended is left as it is', () => {
  const suspended = cronJobOf('nightly', { ...wanted.spec, suspend: true });
  expect(deadline(live({ suspend: true }), now, suspended)).toBe(600);
});

it.each([
  ['schedule', { schedule: '@every 1h' }],
  ['time zone', { timeZone: 'Mars/Olympus' }],
])('nothing is made up for by a %s that cannot be read here', (_, spec) => {
  const unread = cronJobOf('nightly', { ...wanted.spec, ...spec });
  expect(deadline(live({ ...spec, suspend: true }), now, unread)).toBe(10);
});
