/** One sentence for an error of PostgreSQL, with what to do where that is known. Holds no row values. */
export function explainSqlError(cause: unknown): string {
  const error = cause as { code?: string; message?: string };
  const message = error.message ?? String(cause);
  switch (error.code) {
    case '42501':
      return `${message}: the run's role lacks a right; \`retention grants\` prints what it needs`;
    case '57014':
      return `${message}: a statement took longer than limits.statementTimeout; raise it, or lower batchSize`;
    case '55P03':
      return `${message}: a table was locked for longer than limits.lockTimeout, by a migration perhaps; the next run tries again`;
    case '25006':
      return `${message}: the session is read-only; connect to the primary, as a role that may write`;
    case '57P01':
    case '57P02':
    case '57P03':
    case 'ECONNRESET':
      return `${message}: the server ended the connection; what was committed stays, the next run goes on`;
    default:
      // The driver's own words for a connection that was lost carry no code.
      return /^Connection terminated|connection error and is not queryable/.test(message)
        ? `${message}: the connection was lost; what was committed stays, the next run goes on`
        : message;
  }
}
