import { ApiException } from '@kubernetes/client-node';

/** Whether the API server answered, and with this HTTP status. */
export function hasStatus(error: unknown, ...codes: number[]): boolean {
  return error instanceof ApiException && codes.includes(error.code);
}

/** What the API server said, in its own words, or what kept it from answering. */
export function errorMessage(error: unknown): string {
  if (error instanceof ApiException) {
    try {
      return JSON.parse(error.body).message;
    } catch {
      return String(error.body);
    }
  }
  return error instanceof Error ? error.message : String(error);
}
