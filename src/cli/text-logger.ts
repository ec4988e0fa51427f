import { printable } from '../api/run-result.ts';
import type { Logger } from '../kubernetes/logger.ts';

/** For people at a terminal: warnings as one line each. What succeeds or fails is told once, with the result. */
export function textLogger(stream: NodeJS.WritableStream): Logger {
  return {
    debug() {},
    info() {},
    warn(fields, message) {
      const { name, reason, error, message: detail } = fields as Record<string, unknown>;
      const parts = [name, message, detail ?? reason ?? error].filter((part) => part !== undefined);
      stream.write(`warning: ${printable(parts.join(': '))}\n`);
    },
    error() {},
  };
}
