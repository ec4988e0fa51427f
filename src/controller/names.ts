import { createHash } from 'node:crypto';

/** The field manager of all that the controller writes but the results of runs. */
export const fieldManager = 'retention-controller';

/** The CronJob controller appends 11 characters to a CronJob's name, and a Job's name is at most 63 long. */
const maxCronJobName = 52;
const maxLabelLength = 63;

function hash(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

/** The name, or where it is longer than `max` its beginning and a hash of the whole. */
function cut(name: string, max: number): string {
  if (name.length <= max) return name;
  return `${name.slice(0, max - 9).replace(/[-.]+$/, '')}-${hash(name, 8)}`;
}

/** `<policy>-<job>`, at most 52 characters. */
export function cronJobName(policy: string, job: string): string {
  return cut(`${policy}-${job}`, maxCronJobName);
}

/** Name of the ServiceAccount, Role and RoleBinding of a policy's runs, at most 63 characters. */
export function runAccountName(policy: string): string {
  return cut(`retention-${policy}`, maxLabelLength);
}

/** Name of the Job that a request for a run now makes: the same for the same value, so that it is made once. */
export function requestedJobName(policy: { name: string; uid: string }, job: string, value: string): string {
  return `${cronJobName(policy.name, job)}-${hash(`${policy.uid}\n${value}`, 10)}`;
}
