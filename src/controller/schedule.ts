import { Cron } from 'croner';

/** What was found of a schedule: from `after` until the first of the times, which is excluded, the answer is the same. */
interface Answer {
  after: number;
  times: Date[];
}

/** The newest answers. Policies ask over and over, and croner works out anew each time what there is between. */
const answers = new Map<string, Answer>();
const mostAnswers = 1_000;

/** The next `count` times after `after`; none where the schedule cannot be read. The API server alone judges schedules. */
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
  try {
    const cron = new Cron(withShortSteps(schedule), {
      timezone: timeZone,
      mode: '5-part',
      sloppyRanges: true,
      paused: true,
    });
    return cron.nextRuns(count, after);
  } catch {
    return [];
  }
}

/** How many values a field can have: minute, hour, day of the month, month, day of the week. */
const fieldSizes = [60, 24, 31, 12, 7];

/** To Kubernetes a step as long as the field, or longer, means its first value; croner refuses the longer ones. */
function withShortSteps(schedule: string): string {
  const fields = schedule.trim().split(/\s+/);
  if (fields.length !== fieldSizes.length) return schedule;
  const shorten = (field: string, size: number) =>
    field.replace(/\/(\d+)/g, (_, step: string) => `/${Math.min(Number(step), size)}`);
  return fields.map((field, index) => shorten(field, fieldSizes[index]!)).join(' ');
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
  const [first, second] = nextTimes(schedule, timeZone, since, 2);
  if (!first || !second) return undefined;
  const period = second.getTime() - first.getTime();
  return new Date(second.getTime() + Math.min(maxDurationMs, period));
}
