import { startingDeadlineSeconds } from './desired.ts';
import type { CronJob } from './objects.ts';
import { nextRun } from './schedule.ts';

/** The CronJob controller is that late at most; Kubernetes advises against less. */
const noCatchUpSeconds = 10;

/**
 * The wanted CronJob, with a starting deadline so short that no time is made up for that passed while it was suspended, or
 * while it had another schedule: to Kubernetes these are missed times like those of a controller manager that was away.
 * It gets its usual deadline when no such time is left within that.
 */
export function withoutCatchUp(wanted: CronJob, live: CronJob | undefined, now: Date): CronJob {
  if (!live?.spec || !wanted.spec || wanted.spec.suspend) return wanted;
  const { schedule, timeZone, suspend, startingDeadlineSeconds: deadline } = live.spec;
  const changed = suspend || schedule !== wanted.spec.schedule || timeZone !== wanted.spec.timeZone;
  if (!changed && deadline !== noCatchUpSeconds) return wanted;
  const lastTime = live.status?.lastScheduleTime ?? live.metadata.creationTimestamp;
  const since = Math.max(Date.parse(String(lastTime ?? 0)) || 0, now.getTime() - startingDeadlineSeconds * 1000);
  const missed = nextRun(wanted.spec.schedule, wanted.spec.timeZone ?? 'Etc/UTC', new Date(since));
  // Where the schedule cannot be read here, nobody knows whether a time has passed.
  if (missed && missed > now) return wanted;
  return { ...wanted, spec: { ...wanted.spec, startingDeadlineSeconds: noCatchUpSeconds } };
}
