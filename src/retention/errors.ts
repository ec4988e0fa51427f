import type pg from 'pg';
import { tableNames } from './tables.ts';

type SqlError = Partial<pg.DatabaseError>;

/** One sentence for an error of PostgreSQL, with what to do where that is known. Holds no row values. */
export function explainSqlError(cause: unknown): string {
  const error = cause as SqlError;
  const message = `${error.message ?? String(cause)}${namesBeside(error)}`;
  const remedy = remedyOf(error);
  return remedy === undefined ? message : `${message}: ${remedy}`;
}

/** The names that PostgreSQL gives beside its message, and not in it. */
function namesBeside(error: SqlError): string {
  const names = (['table', 'column', 'constraint'] as const).flatMap((what) => {
    const name = error[what];
    return name === undefined || error.message?.includes(name) ? [] : [`${what} "${name}"`];
  });
  return names.length === 0 ? '' : ` (${names.join(', ')})`;
}

// Messages may be translated: what else is known goes first, and their English words last.
function remedyOf(error: SqlError): string | undefined {
  switch (error.code) {
    case '42501':
      return privilegeRemedy(error);
    case '57014':
      return cancelledRemedy(error.message ?? '');
    case '55P03':
      return isInterrupt(error)
        ? 'a table was locked for longer than limits.lockTimeout, by a migration perhaps; the next run tries again'
        : 'a statement with NOWAIT, of a trigger perhaps, found it locked; the next run tries again';
    case '40001':
      return isInterrupt(error)
        ? 'the replay of changes on the standby cancelled it; try again, or connect to the primary'
        : undefined;
    case '25006':
      return 'the session is read-only; connect to the primary, as a role that may write';
    case '57P01':
    case '57P02':
    case '57P03':
    case 'ECONNRESET':
      return 'the server ended the connection; what was committed stays, the next run continues';
    default:
      // The driver's own words for a connection that was lost carry no code.
      return /^Connection terminated|connection error and is not queryable/.test(error.message ?? '')
        ? 'the connection was lost; what was committed stays, the next run continues'
        : undefined;
  }
}

/** True where something from outside ended the statement, and no statement failed by itself. */
function isInterrupt({ routine = 'ProcessInterrupts' }: SqlError): boolean {
  return /Interrupt/.test(routine);
}

function cancelledRemedy(message: string): string {
  const timeout = 'a statement took longer than limits.statementTimeout; raise it, or lower batchSize';
  const cancelled = 'another user or process cancelled the statement (pg_cancel_backend); the next run tries again';
  if (/statement timeout/.test(message)) return timeout;
  return /user request/.test(message) ? cancelled : `${timeout}; or ${cancelled}`;
}

function privilegeRemedy(error: SqlError): string {
  const { message = '', routine = '', where = '' } = error;
  const called = functionIn(where);
  const by = called === undefined ? '' : ` in function ${called}, which a trigger or a constraint calls`;
  if (/^(check_enable_rls|ExecWithCheckOptions)$/.test(routine) || /row-level security/.test(message)) {
    return called === undefined
      ? "a run must see all rows, and row-level security may hide some from its role; give that role bypassrls, or let the table's owner run it"
      : `row-level security applies to the run's role${by}; add a policy for it there, or make the function security definer`;
  }
  if (called !== undefined) {
    return `the run's role lacks a privilege${by}; grant it what that function uses, or make the function security definer`;
  }
  const own = Object.values(tableNames).some((name) => new RegExp(`(?<!\\w)${name}(?!\\w)`).test(message));
  return own || /\bschema\b/.test(message)
    ? "the run's role lacks a privilege; `retention grants` prints what it needs"
    : "the run's role lacks a privilege that is not on a table of the policy, so that `retention grants` does not print it; grant it to that role";
}

/** The innermost function of an error's context, whose lines may be translated. */
function functionIn(where: string): string | undefined {
  return (
    /^PL\/\S+\s.*?([^\s(]+\([^()]*\))/m.exec(where)?.[1] ?? /^SQL\S*\s\S+ ["»«]([^"»«\s]+)["»«] /m.exec(where)?.[1]
  );
}
