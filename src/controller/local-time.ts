/** What the clocks of a time zone show. Months count from 1, weekdays from 0, which is Sunday. */
export interface LocalTime {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  weekday: number;
}

/** What the clocks show at an instant, in seconds since 1970; RangeError for a zone that is not known here. */
export function localTime(time: number, timeZone: string): LocalTime {
  const shown = new Date((time + offset(time, timeZone)) * 1000);
  return {
    year: shown.getUTCFullYear(),
    month: shown.getUTCMonth() + 1,
    day: shown.getUTCDate(),
    hour: shown.getUTCHours(),
    minute: shown.getUTCMinutes(),
    second: shown.getUTCSeconds(),
    weekday: shown.getUTCDay(),
  };
}

/**
 * The instant at which the clocks show a time, as Go's time.Date finds it: a month or day past its end is one of the next
 * year or month; a time that the clocks pass over or show twice is taken by the offset of one of the two sides.
 */
export function utcTime(local: Omit<LocalTime, 'weekday'>, timeZone: string): number {
  const { year, month, day, hour, minute, second } = local;
  const shown = Date.UTC(year, month - 1, day, hour, minute, second) / 1000;
  const guess = offset(shown, timeZone);
  return guess === 0 ? shown : shown - offset(shown - guess, timeZone);
}

/** One of a zone takes a while to make, and some ten kilobytes. */
const formats = new Map<string, Intl.DateTimeFormat>();
const mostFormats = 100;

/** How far the clocks are ahead of UTC at an instant, in seconds. */
function offset(time: number, timeZone: string): number {
  let format = formats.get(timeZone);
  if (!format) {
    format = new Intl.DateTimeFormat('en', { timeZone, timeZoneName: 'longOffset' });
    if (formats.size >= mostFormats) formats.clear();
    formats.set(timeZone, format);
  }
  const [, sign, hours, minutes] = /GMT([+-])(\d\d):(\d\d)/.exec(format.format(time * 1000)) ?? [];
  return (sign === '-' ? -1 : 1) * (Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60);
}
