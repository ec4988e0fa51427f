import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectionError } from '../database/connection-error.ts';
import type { RunOptions } from './options.ts';
import type { Stop } from './stop.ts';

/** A server that restarts, or whose name is new, is there within this time; a run that fails costs a whole night. */
const firstConnectionMs = 90_000;
const longestPauseMs = 10_000;

type Options = Pick<RunOptions, 'connect' | 'log' | 'firstConnectionMs'>;

/**
 * Opens connections, each given up when the run has been stopped for too long, or `abandon` is aborted. The first one is
 * tried again and again where what is wrong may pass, until `stop`; what cannot pass, and a later connection, fails at once.
 */
export function openerOf(options: Options, stop: () => Stop): RunOptions['connect'] {
  const { connect, log, firstConnectionMs: patienceMs = firstConnectionMs } = options;
  let connected = false;
  return async (abandon) => {
    const { abandon: stopped, signal } = stop();
    const either = abandon === undefined ? stopped : AbortSignal.any([stopped, abandon]);
    const deadline = Date.now() + patienceMs;
    for (let longestMs = 1_000; ; longestMs = Math.min(2 * longestMs, longestPauseMs)) {
      try {
        const client = await connect(either);
        connected = true;
        return client;
      } catch (error) {
        const retryInMs = Math.round(longestMs * (0.5 + Math.random() / 2));
        const mayPass = error instanceof ConnectionError && error.mayPass;
        if (connected || !mayPass || signal.aborted || Date.now() + retryInMs > deadline) throw error;
        log.warn({ error: error.message, retryInMs }, `cannot connect; will keep trying for ${patienceMs / 1000} s`);
        await sleep(retryInMs, undefined, { signal }).catch(() => {});
        if (signal.aborted) throw error;
      }
    }
  };
}
