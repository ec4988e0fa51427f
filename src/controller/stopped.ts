import { group } from '../api/policy.ts';
import { cutText, type RunReport } from '../api/run-result.ts';
import type { Job } from './objects.ts';

/** On a Job whose run the controller stops: why, in words that follow "stopped:". */
export const stoppedAnnotation = `${group}/stopped`;

/** Why the controller stopped the Job's run; undefined where it did not. */
export function stoppedBecause(job: Job | undefined): string | undefined {
  return job?.metadata.annotations?.[stoppedAnnotation];
}

/** The run with the reason why its Job was stopped: the run itself only knows that it received SIGTERM. */
export function explained<Run extends RunReport>(run: Run, job: Job | undefined): Run {
  const why = stoppedBecause(job);
  const { message = '' } = run;
  if (!why || run.result !== 'Partial' || message.includes(why)) return run;
  const signal = 'stopped: SIGTERM received';
  const words = message.includes(signal)
    ? message.replace(signal, () => `stopped: ${why}`)
    : `stopped: ${why}; ${message}`;
  return { ...run, message: cutText(words) };
}
