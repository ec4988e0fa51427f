import { pino } from 'pino';
import { ConfigurationError } from '../database/config.ts';
import type { Logger } from '../kubernetes/logger.ts';

export const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/**
 * JSON lines on stderr, so that stdout holds results alone; LOG_LEVEL sets the level (default info).
 * ConfigurationError where that is no level.
 */
export function jsonLogger(env: Readonly<Record<string, string | undefined>>): Logger {
  const level = env.LOG_LEVEL || 'info';
  if (!levels.includes(level)) {
    throw new ConfigurationError(`LOG_LEVEL must be one of ${levels.join(', ')} (given: "${level}")`);
  }
  const destination = pino.destination({ fd: 2, sync: true });
  return pino(
    {
      level,
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line) => void destination.write(harmless(line)) },
  );
}

/** The same JSON, without characters that JSON may have as they are and a terminal obeys. */
export function harmless(line: string): string {
  return line.replaceAll(/(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    character.replaceAll(/[\s\S]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}
