import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { everFires, nextTime, parseCron } from '../../../src/controller/cron.ts';

/** Made by robfig/cron itself; generate/main.go says what each line is. */
const figures = readFileSync(new URL('figures.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as [string, string?, number?, (number | null)[]?]);
const refused = figures.flatMap(([schedule, zone]) => (zone === undefined ? [schedule] : []));
const accepted = figures.flatMap(([schedule, zone, after, minutes]) =>
  zone !== undefined ? [{ schedule, zone, after: after!, minutes: minutes! }] : [],
);

/** The same times as in a line of figures. */
function minutesOf(schedule: string, zone: string, after: number, count: number): (number | null)[] {
  const minutes: (number | null)[] = [];
  let last = Math.floor(after / 60);
  for (let from = after; minutes.length < count; ) {
    const next = nextTime(parseCron(schedule)!, zone, from);
    if (next === undefined) return [...minutes, null];
    minutes.push(next / 60 - last);
    last = next / 60;
    from = next;
  }
  return minutes;
}

describe('as to robfig/cron, by which Kubernetes starts CronJobs,', () => {
  it('there are thousands of schedules to compare', () => {
    expect(refused.length).toBeGreaterThan(1_000);
    expect(accepted.length).toBeGreaterThan(4_000);
  });

  it('a schedule is accepted or refused', () => {
    expect(refused.filter((schedule) => parseCron(schedule))).toEqual([]);
    expect(accepted.filter(({ schedule }) => !parseCron(schedule))).toEqual([]);
  });

  it('a schedule fires at the same times, where the clocks change too', { timeout: 60_000 }, () => {
    const different = accepted.flatMap(({ schedule, zone, after, minutes }) => {
      const ours = minutesOf(schedule, zone, after, minutes.length);
      return JSON.stringify(ours) === JSON.stringify(minutes) ? [] : [{ schedule, zone, after, minutes, ours }];
    });
    expect(different).toEqual([]);
  });

  it('a schedule never fires, in any zone', () => {
    const never = accepted.filter(({ minutes }) => minutes[0] === null).map(({ schedule }) => schedule);
    expect(never).toContain('0 0 31 2,4,6,9,11 *');
    expect(accepted.filter(({ schedule }) => !everFires(parseCron(schedule)!)).map(({ schedule }) => schedule)).toEqual(
      never,
    );
  });
});

it.each([
  ['@every 1h', 'has no fixed times'],
  ['TZ=Asia/Tokyo 0 3 * * *', 'has a zone of its own'],
  ['CRON_TZ=UTC 0 3 * * *', 'has a zone of its own'],
])('%s is refused, as the policy and Kubernetes do: it %s', (schedule) => {
  expect(parseCron(schedule)).toBeUndefined();
});

it('a time that comes, but not within five years, is not taken for one that never comes', () => {
  const leapDay = parseCron('0 0 29 2 *')!;
  const at = (text: string) => Date.parse(text) / 1000;
  expect(nextTime(leapDay, 'UTC', at('2096-03-01T00:00:00Z'))).toBeUndefined();
  expect(nextTime(leapDay, 'UTC', at('2099-03-01T00:00:00Z'))).toBe(at('2104-02-29T00:00:00Z'));
  expect(everFires(leapDay)).toBe(true);
});

it('a search comes to its end where a zone has left out a whole day', () => {
  // Samoa had no December 30th in 2011; Go's own search never ends there.
  const before = Date.parse('2011-12-29T10:00:00Z') / 1000;
  expect(nextTime(parseCron('0 0 3 * *')!, 'Pacific/Apia', before)).toBeUndefined();
});
