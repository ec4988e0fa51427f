import { explainSqlError } from './errors.ts';

/**
 * A transaction failed for a reason of one of its rows, or of some: the others may be changed without them. `columns` are those
 * that were written: of a value that is too long or of the wrong form PostgreSQL does not say where it should have gone.
 */
export class RowsRefused extends Error {
  override name = 'RowsRefused';
  constructor(cause: Error, columns: readonly string[] = []) {
    const { code = '', where = '', dataType } = cause as { code?: string; where?: string; dataType?: string };
    // Of a domain's constraint it says the domain. A value that a function has made may be for another table.
    const unnamed =
      (code.startsWith('22') || dataType !== undefined) && !/^(PL\/|SQL)/m.test(where) && columns.length > 0;
    super(`${explainSqlError(cause)}${unnamed ? ` (the operation writes ${columns.join(', ')})` : ''}`, { cause });
  }
}

/** Classes of SQLSTATEs that are no row's fault: connection, conflict, resources, an operator's intervention, the server itself. */
const neverOfRows = new Set(['08', '40', '53', '57', '58', 'XX']);
/** And those that are the statement's own, unless they come from a function that it calls for a row: privileges, names, settings. */
const ofStatement = new Set(['25', '28', '2D', '3D', '42', '55']);

/** Whether the error of a statement that changes rows may be the fault of a row: a constraint, a trigger that raises, a check. */
export function refusesRows(error: unknown): boolean {
  const { code = '', where } = error as { code?: string; where?: string };
  if (code.length !== 5) return false;
  const sqlState = code.slice(0, 2);
  // A trigger may raise whatever it likes; a conflict is tried again first, whoever says that it is one.
  if (sqlState !== '40' && where !== undefined && /\bat RAISE$/m.test(where)) return true;
  return !neverOfRows.has(sqlState) && (!ofStatement.has(sqlState) || where !== undefined);
}

/** So many rows may fail; then the operation ends, since all of them may be bad. */
const mostFailures = 100;

/** Rows of an operation that cannot be changed, by their keys. */
export class Failures {
  readonly #rows = new Map<string, string>();

  get count(): number {
    return this.#rows.size;
  }

  has(key: string): boolean {
    return this.#rows.has(key);
  }

  /** Adds a row, with why it cannot be changed. Throws when there are too many. */
  add(key: string, message: string): void {
    this.#rows.set(key, message);
    if (this.count >= mostFailures)
      throw new Error(`gave up after ${this.count} rows failed; the first: ${this.first}`);
  }

  /** The first row's key and message. */
  get first(): string | undefined {
    const [first] = this.#rows;
    return first && `${first[0]}: ${first[1]}`;
  }
}
