import { z } from 'zod';

/**
 * The form of the names that PostgreSQL lists in pg_timezone_names: words, by slashes, and the few with a digit. Kept
 * out are POSIX descriptions such as UTC-5, which PostgreSQL takes too, and by which people mean the opposite.
 */
const pattern =
  '^([A-Za-z]+(-[A-Za-z]+)*|[A-Za-z]+(/[A-Za-z][A-Za-z0-9_+-]*)+|GMT0|GMT[+-]0|EST5EDT|CST6CDT|MST7MDT|PST8PDT)$';
const message =
  'must be a name of pg_timezone_names, such as UTC or America/New_York; an offset such as UTC-5 or -5 is read as POSIX does, where minus means east of Greenwich: the opposite of what it looks like';

/** Whether a text has the form of a time zone's name. */
export const isTimeZoneName = (value: string): boolean => new RegExp(pattern).test(value);

/** A time zone by its name, checked by the API server (CEL) and by the program alike; a run looks it up as well. */
export const timeZoneName = z
  .string()
  .min(1)
  .max(64)
  .refine(isTimeZoneName, message)
  .meta({ 'x-kubernetes-validations': [{ rule: `self.matches('${pattern}')`, message }] });

// IANA's areas, and its names without one; no list of all names, which differ by the version of the database.
const areas =
  'Africa America Antarctica Arctic Asia Atlantic Australia Brazil Canada Chile Etc Europe Indian Mexico Mideast Pacific SystemV US posix right';
const single =
  'CET CST6CDT Cuba EET EST EST5EDT Egypt Eire Factory GB GB-Eire GMT GMT\\+0 GMT-0 GMT0 Greenwich HST Hongkong Iceland Iran Israel Jamaica Japan Kwajalein Libya MET MST MST7MDT NZ NZ-CHAT Navajo PRC PST8PDT Poland Portugal ROC ROK Singapore Turkey UCT UTC Universal W-SU WET Zulu';
const schedulePattern = `^((${areas.replaceAll(' ', '|')})(/[A-Za-z0-9_+-]+)+|${single.replaceAll(' ', '|')})$`;
const scheduleMessage =
  'must be a name of the IANA time zone database, such as Etc/UTC or Europe/London, spelled as there';

/** A time zone that Kubernetes may know, by its area; checked by the API server (CEL) and by the program alike. */
export const scheduleTimeZone = z
  .string()
  .min(1)
  .max(64)
  .refine((value) => new RegExp(schedulePattern).test(value), scheduleMessage)
  .meta({ 'x-kubernetes-validations': [{ rule: `self.matches(r'${schedulePattern}')`, message: scheduleMessage }] });
