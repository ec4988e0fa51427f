/** A transaction failed for a reason of one of its rows, or of some: the others may be changed without them. */
export class RowsRefused extends Error {
  override name = 'RowsRefused';
  constructor(cause: Error) {
    super(cause.message, { cause });
  }
}

/**
 * Classes of SQLSTATEs that are no row's fault: connection, transaction, login, resources, locks, an operator's intervention,
 * the server itself.
 */
const notOfRows = new Set(['08', '25', '28', '2D', '3D', '40', '53', '55', '57', '58', 'XX']);

/** Whether the error of a statement that changes rows may be the fault of a row: a constraint, a trigger that raises, a check. */
export function refusesRows(error: unknown): boolean {
  const { code = '', where } = error as { code?: string; where?: string };
  const sqlState = code.slice(0, 2);
  if (code.length !== 5 || notOfRows.has(sqlState)) return false;
  // A missing privilege, table or function: the statement's own, or that of a function which it calls for a row.
  return sqlState !== '42' || where !== undefined;
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
