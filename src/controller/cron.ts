import { type LocalTime, localTime, utcTime } from './local-time.ts';

/** A schedule as Kubernetes reads it: which values each field has. */
export interface Cron {
  minute: ReadonlySet<number>;
  hour: ReadonlySet<number>;
  /** Of the month. */
  day: ReadonlySet<number>;
  month: ReadonlySet<number>;
  /** Of the week; Sunday is 0. */
  weekday: ReadonlySet<number>;
  /** One of the two kinds of days has a star, so that a time must match both of them; without, either is enough. */
  bothDays: boolean;
}

interface Limits {
  min: number;
  max: number;
  names?: string[];
}

const minutes: Limits = { min: 0, max: 59 };
const hours: Limits = { min: 0, max: 23 };
const days: Limits = { min: 1, max: 31 };
const months: Limits = {
  min: 1,
  max: 12,
  names: ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'],
};
const weekdays: Limits = { min: 0, max: 6, names: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] };

const descriptors = new Map([
  ['@yearly', '0 0 1 1 *'],
  ['@annually', '0 0 1 1 *'],
  ['@monthly', '0 0 1 * *'],
  ['@weekly', '0 0 * * 0'],
  ['@daily', '0 0 * * *'],
  ['@midnight', '0 0 * * *'],
  ['@hourly', '0 * * * *'],
]);

/**
 * Reads a schedule as the Go library robfig/cron v3 does, by which Kubernetes starts CronJobs; undefined where it refuses
 * it. `TZ=` and `@every`, which a policy may not have, are refused here too.
 */
export function parseCron(schedule: string): Cron | undefined {
  const fields = (descriptors.get(schedule) ?? schedule).split(/\p{White_Space}+/u).filter((field) => field !== '');
  if (fields.length !== 5) return undefined;
  const limits = [minutes, hours, days, months, weekdays];
  const parsed = fields.map((field, index) => parseField(field, limits[index]!));
  const [minute, hour, day, month, weekday] = parsed;
  if (!minute || !hour || !day || !month || !weekday) return undefined;
  return {
    minute: minute.values,
    hour: hour.values,
    day: day.values,
    month: month.values,
    weekday: weekday.values,
    bothDays: day.star || weekday.star,
  };
}

interface Field {
  values: Set<number>;
  star: boolean;
}

/** Parts that are empty count as nothing: a field of commas alone has no values, and never matches. */
function parseField(field: string, limits: Limits): Field | undefined {
  const all: Field = { values: new Set(), star: false };
  for (const part of field.split(',').filter((text) => text !== '')) {
    const range = parseRange(part, limits);
    if (!range) return undefined;
    for (let value = range.start; value <= range.end; value += range.step) all.values.add(value);
    all.star ||= range.star;
  }
  return all;
}

function parseRange(text: string, { min, max, names }: Limits) {
  const [range = '', stepText, ...tooManySlashes] = text.split('/');
  const [low = '', high, ...tooManyHyphens] = range.split('-');
  // What follows a star and a hyphen is not looked at.
  const star = low === '*' || low === '?';
  const start = star ? min : parseValue(low, names);
  let end = star ? max : high === undefined ? start : parseValue(high, names);
  const step = stepText === undefined ? 1 : parseNumber(stepText);
  if (stepText !== undefined && high === undefined) end = max;
  if (start === undefined || end === undefined || !step) return undefined;
  if (tooManySlashes.length > 0 || (!star && tooManyHyphens.length > 0)) return undefined;
  if (start < min || end > max || start > end) return undefined;
  return { start, end, step, star: star && step === 1 };
}

function parseValue(text: string, names: string[] | undefined): number | undefined {
  const index = names?.indexOf(text.toLowerCase()) ?? -1;
  if (index < 0) return parseNumber(text);
  return names === weekdays.names ? index : index + 1;
}

/** A number as Go's strconv.Atoi reads it, where it is not negative. */
function parseNumber(text: string): number | undefined {
  if (!/^\+?\d+$/.test(text) || BigInt(text.replace('+', '')) >= 2n ** 63n) return undefined;
  return Number(text);
}

/** Whether a schedule has any time at all, in whatever year and zone: February 30th has none, for example. */
export function everFires({ minute, hour, day, month, weekday, bothDays }: Cron): boolean {
  // 2028 has a February 29th.
  const daysIn = (each: number) => new Date(Date.UTC(2028, each, 0)).getUTCDate();
  const hasDay = [...month].some((each) => [...day].some((date) => date <= daysIn(each)));
  const hasWeekday = month.size > 0 && weekday.size > 0;
  return minute.size > 0 && hour.size > 0 && (bothDays ? hasDay && hasWeekday : hasDay || hasWeekday);
}

/** How many years a next time is looked for, after this one. */
const horizonYears = 5;
/** More than any search takes; one through days that a zone has left out altogether would never end. */
const mostSteps = 10_000;

/**
 * The first time after `after` (both in seconds since 1970) at which a schedule fires in a time zone; undefined where
 * there is none within five years. Step by step as robfig/cron does it: its steps decide what becomes of times that the clocks
 * pass over or show twice. Throws a RangeError for a zone that is not known here.
 */
export function nextTime(cron: Cron, timeZone: string, after: number): number | undefined {
  if (!everFires(cron)) return undefined;
  let time = Math.floor(after) + 1;
  let local = localTime(time, timeZone);
  const lastYear = local.year + horizonYears;
  // Whether the parts below the one that is counted on have been set to their first value; they are so then for good.
  let reset = false;
  const move = (to: number) => {
    time = to;
    local = localTime(time, timeZone);
  };
  const resetTo = (start: () => number) => {
    if (!reset) move(start());
    reset = true;
  };

  wrap: for (let steps = 0; local.year <= lastYear && steps < mostSteps; steps++) {
    while (!cron.month.has(local.month)) {
      resetTo(() => utcTime({ ...local, day: 1, hour: 0, minute: 0, second: 0 }, timeZone));
      move(utcTime({ ...local, month: local.month + 1 }, timeZone));
      if (local.month === 1) continue wrap;
    }
    while (!matchesDay(cron, local)) {
      if (steps++ > mostSteps) return undefined;
      resetTo(() => utcTime({ ...local, hour: 0, minute: 0, second: 0 }, timeZone));
      move(utcTime({ ...local, day: local.day + 1 }, timeZone));
      // The clocks may pass over midnight, or show it twice.
      if (local.hour !== 0) move(time + (local.hour > 12 ? 24 - local.hour : -local.hour) * 3600);
      if (local.day === 1) continue wrap;
    }
    while (!cron.hour.has(local.hour)) {
      resetTo(() => utcTime({ ...local, minute: 0, second: 0 }, timeZone));
      move(time + 3600);
      if (local.hour === 0) continue wrap;
    }
    while (!cron.minute.has(local.minute)) {
      resetTo(() => time - local.second);
      move(time + 60);
      if (local.minute === 0) continue wrap;
    }
    if (local.second === 0) return time;
    reset = true;
    move(time - local.second + 60);
  }
  return undefined;
}

function matchesDay({ day, weekday, bothDays }: Cron, local: LocalTime): boolean {
  const [date, ofWeek] = [day.has(local.day), weekday.has(local.weekday)];
  return bothDays ? date && ofWeek : date || ofWeek;
}
