/** Errors after which the same transaction may succeed: somebody else's turn, or a connection that was lost. */
const conflicts = new Set(['40001', '40P01']);
const lostConnections = new Set([
  ...['57P01', '57P02', '57P03'],
  ...['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN'],
]);

/** True for a deadlock or a serialization failure: PostgreSQL has rolled the transaction back for somebody else's sake. */
export function isConflict(error: unknown): boolean {
  return conflicts.has((error as { code?: string }).code ?? '');
}

/** True where the connection has gone, or could not be made because the server is just not there. */
export function isLostConnection(error: unknown): boolean {
  const { code = '', message = '', cause } = error as { code?: string; message?: string; cause?: unknown };
  // The code of an AbortSignal's error is a number.
  if (lostConnections.has(code) || String(code).startsWith('08')) return true;
  // The driver's own words for a connection that was lost, or not made in time, carry no code.
  if (/^Connection terminated|connection error and is not queryable|^timeout expired$/.test(message)) return true;
  return cause !== undefined && isLostConnection(cause);
}
