import type { Logger } from '../kubernetes/logger.ts';

/** For people at a terminal: warnings and errors as one line each; what succeeds is in the result. */
export function textLogger(stream: NodeJS.WritableStream): Logger {
  const line = (level: string) => (fields: object, message: string) => {
    const { name, reason, error, message: detail } = fields as Record<string, unknown>;
    const parts = [name, message, error ?? detail ?? reason].filter((part) => part !== undefined);
    stream.write(`${level}: ${parts.join(': ')}\n`);
  };
  return { debug() {}, info() {}, warn: line('warning'), error: line('error') };
}
