import type { Log } from './binaries.ts';

/** Does `work`, and logs what `describe` says, with the seconds since its start, at the start and every five seconds. */
export async function withProgress<T>(log: Log, describe: () => string, work: () => Promise<T>): Promise<T> {
  const start = Date.now();
  const seconds = () => Math.round((Date.now() - start) / 1000);
  log(`${describe()} …`);
  const timer = setInterval(() => log(`${describe()} … ${seconds()} s`), 5000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
