import { pino } from 'pino';
import type { Logger } from '../kubernetes/logger.ts';

/** JSON lines on stderr, so that stdout holds results alone; LOG_LEVEL sets the level (default info). */
export function jsonLogger(): Logger {
  return pino(
    {
      level: process.env.LOG_LEVEL ?? 'info',
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
