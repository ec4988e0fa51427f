import { z } from 'zod';

/** So many failures in a row last longer than what goes by itself: the wait doubles from 5 ms on. */
const patience = 8;

const lineSchema = z.object({
  level: z.string(),
  msg: z.string(),
  key: z.string().optional(),
  err: z.object({ type: z.string(), message: z.string(), status: z.number().optional() }).optional(),
});

/**
 * What a controller's log, at level warn and above, says that must not be: what is no line of its own, such as an
 * unhandled rejection; an error that is no answer of the API server's; a warning; a policy that is tried again and again.
 */
export function complaints(log: readonly string[]): string[] {
  const found: string[] = [];
  const failures = new Map<string, number>();
  for (const text of log) {
    const line = text.startsWith('{') ? lineSchema.parse(JSON.parse(text)) : undefined;
    if (line?.level === 'error' && line.err?.type === 'ApiError' && line.key) {
      const count = (failures.get(line.key) ?? 0) + 1;
      failures.set(line.key, count);
      if (count === patience) found.push(`policy ${line.key} is tried again and again: ${line.err.message}`);
    } else {
      found.push(text);
    }
  }
  return found;
}
