import { milliseconds } from '../api/duration.ts';
import type { Session } from '../database/session.ts';
import type { RunOptions } from './options.ts';

/** Design "SIGTERM": a statement still running this long after a stop is cancelled, and rolled back; so is a later one. */
const cancelAfterMs = 5_000;

/** What ends a run early. After a stop no new batch begins; the first reason counts. */
export interface Stop {
  signal: AbortSignal;
  /** The reason, as a part of the run's message. */
  readonly note: string;
  for(reason: string): void;
  dispose(): void;
}

/** Stops a run when its caller's signal is aborted, when maxDuration is over, or when `for` is called. */
export function stopOf(
  options: Pick<RunOptions, 'limits' | 'signal' | 'log' | 'cancelAfterMs'>,
  session: Session,
): Stop {
  const controller = new AbortController();
  let cancelTimer: NodeJS.Timeout | undefined;
  const stopFor = (reason: string) => {
    if (controller.signal.aborted) return;
    options.log.warn({ reason }, 'stopping');
    controller.abort(reason);
    cancelTimer = setInterval(() => void session.cancel().catch(() => {}), options.cancelAfterMs ?? cancelAfterMs);
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
    get note() {
      return `stopped: ${String(controller.signal.reason)}`;
    },
    for: stopFor,
    dispose() {
      clearTimeout(deadline);
      clearInterval(cancelTimer);
      options.signal.removeEventListener('abort', onAbort);
    },
  };
}
