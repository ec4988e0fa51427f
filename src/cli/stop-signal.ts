import { exitCodes } from '../api/run-result.ts';

export const exitCodeOfStoppedRun = exitCodes.Partial;
/** Design "SIGTERM": out within 10 s, whatever hangs. */
export const hardExitAfterMs = 9_500;

/** Aborted by SIGTERM or SIGINT, with the signal's name as reason. */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => controller.abort(`${name} received`));
  }
  return controller.signal;
}
