import type { RetentionPolicySpec } from '../api/rules.ts';
import { everFires, nextTime, parseCron } from './cron.ts';

/** What was found of a schedule: from `after` until the first of the times, which is excluded, the answer is the same. */
interface Answer {
  after: number;
  times: Date[];
}

/** The newest answers. Policies ask over and over, and each time all that lies between would be searched again. */
const answers = new Map<string, Answer>();
const mostAnswers = 1_000;

/** The next `count` times after `after`; none where the schedule cannot be read. The API server judges whether it can be. */
function nextTimes(schedule: string, timeZone: string, after: Date, count: number): Date[] {
  const key = `${count} ${timeZone} ${schedule}`;
  const known = answers.get(key);
  if (known && known.after <= after.getTime() && after.getTime() < validUntil(known)) return known.times;
  const times = compute(schedule, timeZone, after, count);
  if (answers.size >= mostAnswers) answers.clear();
  answers.set(key, { after: after.getTime(), times });
  return times;
}

/** That there is none takes longest to find out, and is believed for a day. */
const neverMs = 86_400_000;

const validUntil = ({ after, times: [first] }: Answer): number => first?.getTime() ?? after + neverMs;

function compute(schedule: string, timeZone: string, after: Date, count: number): Date[] {
  const cron = parseCron(schedule);
  const times: Date[] = [];
  try {
    for (let last = after.getTime() / 1000; cron && times.length < count; ) {
      const next = nextTime(cron, timeZone, last);
      if (next === undefined) break;
      times.push(new Date(next * 1000));
      last = next;
    }
  } catch (error) {
    // The time zone is not known here, or `after` is no time.
    if (!(error instanceof RangeError)) throw error;
  }
  return times;
}

/**
 * Which schedule of a spec never fires, as a sentence that says what to do; undefined where all do. Kubernetes accepts such a
 * one, and says so in an Event only.
 */
export function whyNeverFires(spec: Pick<RetentionPolicySpec, 'schedule' | 'jobs' | 'statistics'>): string | undefined {
  const own = spec.jobs?.map((job, index) => ({ field: `spec.jobs[${index}].schedule`, schedule: job.schedule })) ?? [];
  const common = !spec.jobs || spec.jobs.some((job) => job.schedule === undefined) ? spec.schedule : undefined;
  const fields = [
    { field: 'spec.schedule', schedule: common },
    ...own,
    { field: 'spec.statistics.schedule', schedule: spec.statistics?.schedule },
  ];
  for (const { field, schedule } of fields) {
    const cron = schedule === undefined ? undefined : parseCron(schedule);
    if (!cron || everFires(cron)) continue;
    return `${field} ${JSON.stringify(schedule)} never fires: no date and time matches it; write a schedule that fires, such as "17 3 * * *" (to start no run at all, set spec.suspend: true)`;
  }
  return undefined;
}

/** When a schedule fires next after `after`; only shown, since the CronJob keeps the time. */
export function nextRun(schedule: string, timeZone: string, after: Date): Date | undefined {
  return nextTimes(schedule, timeZone, after, 1)[0];
}

/**
 * When a job that has not succeeded since `since` is overdue: at its second time after that, and as long again as a
 * run may take (`maxDurationMs`), but no longer than its period.
 */
export function overdueAt(schedule: string, timeZone: string, since: Date, maxDurationMs: number): Date | undefined {
  let [first, second] = nextTimes(schedule, timeZone, since, 2);
  let lateMs = 0;
  if (!first) {
    // The API server may know zones that this program does not: `posix/Europe/London`, or one that is new.
    lateMs = farthestZoneMs;
    [first, second] = nextTimes(schedule, 'UTC', new Date(since.getTime() + lateMs), 2);
  }
  if (!first || !second) return undefined;
  const period = second.getTime() - first.getTime();
  return new Date(second.getTime() + lateMs + Math.min(maxDurationMs, period));
}

/** No zone's clocks are farther from UTC. */
const farthestZoneMs = 14 * 3_600_000;
