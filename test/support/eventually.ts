import { setTimeout as sleep } from 'node:timers/promises';

/** For `vi.waitFor`, by which tests wait for all that they expect of one state, not for a part of it. */
export const soon = { timeout: 30_000, interval: 50 };

/** Asks until the answer is neither false nor undefined, and gives it; fails after `seconds` with `what` was awaited. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined | false>,
  { seconds = 30, everyMs = 50 }: { seconds?: number; everyMs?: number } = {},
): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain for: ${what}`);
    await sleep(everyMs);
  }
}
