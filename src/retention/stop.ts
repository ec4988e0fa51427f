import { milliseconds } from '../api/duration.ts';
import { ConnectionError } from '../database/connection-error.ts';
import type { Session } from '../database/session.ts';
import type { RunOptions } from './options.ts';

/** Design "SIGTERM": a statement still running this long after a stop is cancelled, and rolled back; so is a later one. */
const cancelAfterMs = 5_000;
/** What has not answered the cancelling by then, in times of the above, never will: its connection is given up. */
const abandonAfter = 1.6;

/** What ends a run early. After a stop no new batch begins; the first reason counts. */
export interface Stop {
  signal: AbortSignal;
  /** Aborted when waiting any longer is pointless. */
  abandon: AbortSignal;
  /** The reason, as a part of the run's message. */
  readonly note: string;
  for(reason: string): void;
  dispose(): void;
}

/** The note of a run that a stop has ended; where it could not connect until then, with the reason. */
export function stoppedBy({ note }: Stop, error: unknown): string {
  return error instanceof ConnectionError ? `${note}; ${error.message}` : note;
}

/** Stops a run when its caller's signal is aborted, when maxDuration is over, or when `for` is called. */
export function stopOf(
  options: Pick<RunOptions, 'limits' | 'signal' | 'log' | 'cancelAfterMs'>,
  session: Session,
): Stop {
  const controller = new AbortController();
  const abandon = new AbortController();
  const cancelMs = options.cancelAfterMs ?? cancelAfterMs;
  let cancelTimer: NodeJS.Timeout | undefined;
  let abandonTimer: NodeJS.Timeout | undefined;
  const stopFor = (reason: string) => {
    if (controller.signal.aborted) return;
    options.log.warn({ reason }, 'stopping');
    controller.abort(reason);
    cancelTimer = setInterval(() => void session.cancel().catch(() => {}), cancelMs);
    abandonTimer = setTimeout(() => abandon.abort(), cancelMs * abandonAfter);
  };
  const { maxDuration } = options.limits;
  const deadline = setTimeout(
    () => stopFor(`maxDuration ${maxDuration} is over, the next run goes on`),
    milliseconds(maxDuration),
  );
  const onAbort = () => stopFor(String(options.signal.reason));
  if (options.signal.aborted) onAbort();
  else options.signal.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    abandon: abandon.signal,
    get note() {
      return `stopped: ${String(controller.signal.reason)}`;
    },
    for: stopFor,
    dispose() {
      clearTimeout(deadline);
      clearInterval(cancelTimer);
      clearTimeout(abandonTimer);
      options.signal.removeEventListener('abort', onAbort);
    },
  };
}
