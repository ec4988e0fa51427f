import type pg from 'pg';
import { asAtLogin } from '../database/session.ts';
import { RowsRefused, refusesRows } from './bad-rows.ts';
import { type KeyColumn, type Operation, type Rows, rowsByKey, type Step } from './operation.ts';
import { compareKeys, keepKeysOut } from './references.ts';
import { checkWritten, KeysNeeded, settle } from './written.ts';

export const lockNotAvailable = '55P03';

/** Rows whose place is in the blocks from `from` to before `to`. */
export function rowsInBlocks(from: number, to: number): Rows {
  return {
    where: (first) =>
      `t.ctid operator(pg_catalog.>=) $${first}::pg_catalog.tid and t.ctid operator(pg_catalog.<) $${first + 1}::pg_catalog.tid`,
    parameters: [`(${from},0)`, `(${to},0)`],
  };
}

/** What came of some rows in one transaction, by their keys. */
export interface Taken {
  /** Those that were locked; the others are locked by somebody else, gone, or not due any more. */
  keys: string[];
  /** Those of them that are due, of which no more than `most` were changed. */
  due: number;
  changed: number;
}

/**
 * Locks those of some rows that a step is due for, looks again where other rows decide, and changes them, `most` at most. To be
 * called in a transaction of its own. Throws RowsRefused where one of the rows is the reason that it cannot be done, KeysNeeded
 * where what was written can only be looked at by primary key.
 */
export async function lockAndChange(
  client: pg.Client,
  o: Operation,
  step: Step,
  rows: Rows,
  column: KeyColumn,
  others: 'skip locked' | 'wait',
  most = Number.POSITIVE_INFINITY,
): Promise<Taken> {
  const keysInto = step.action === 'deleted' ? o.keys : undefined;
  if (keysInto !== undefined) await keepKeysOut(client, o.table);
  const keys = await lockRows(client, o, step, rows, column, others);
  const due = step.lockFirst ? await lookAgain(client, o, step, column, keys) : keys;
  const taken = due.slice(0, most);
  if (taken.length === 0) return { keys, due: due.length, changed: 0 };
  const found = rowsByKey(column, taken);
  const text = `${step.change(1 + found.parameters.length)} where ${found.where(1)}`;
  const { changed, watched } = await change(client, o, text, [...found.parameters, ...step.changeParameters]).catch(
    (error) => {
      // The rows themselves are locked: what is waited for is something that a trigger of one of them wants.
      throw (error as { code?: string }).code === lockNotAvailable ? new RowsRefused(error as Error) : error;
    },
  );
  // What swallows a change would look like a run with nothing to do.
  if (changed < taken.length) {
    throw new RowsRefused(
      new Error(
        `${taken.length} rows of ${o.table} were locked and ${changed} changed: a trigger or a rule of that table keeps them`,
      ),
    );
  }
  if (watched) {
    if (column !== o.primaryKey) throw new KeysNeeded(o.table);
    await checkWritten(client, o, step, taken);
  }
  if (keysInto !== undefined) await compareKeys(client, o.table, keysInto);
  return { keys, due: due.length, changed };
}

/**
 * Changes those of some rows that a step is due for, in one statement that waits for rows that others hold locked: PostgreSQL
 * looks at such a row again. Not for a step with `lockFirst`. How many rows changed; throws as `lockAndChange` does, and
 * KeysNeeded where triggers or rules may have changed what was written.
 */
export async function changeDirectly(client: pg.Client, o: Operation, step: Step, rows: Rows): Promise<number> {
  const keysInto = step.action === 'deleted' ? o.keys : undefined;
  if (keysInto !== undefined) await keepKeysOut(client, o.table);
  const own = [...o.dueParameters, ...step.changeParameters];
  const { changed, watched } = await change(
    client,
    o,
    `${step.change(o.dueParameters.length + 1)}
      where ${rows.where(own.length + 1)}
        and ${step.due}`,
    [...own, ...rows.parameters],
  );
  if (watched) throw new KeysNeeded(o.table);
  if (keysInto !== undefined && changed > 0) await compareKeys(client, o.table, keysInto);
  return changed;
}

/**
 * Condition and lock stand at one query level: around a subselect, rows would be locked and changed that are no longer due
 * (measured). Rows that others hold locked are passed over, or waited for up to the lock timeout.
 */
async function lockRows(
  client: pg.Client,
  o: Operation,
  step: Step,
  rows: Rows,
  column: KeyColumn,
  others: 'skip locked' | 'wait',
): Promise<string[]> {
  const result = await client.query<{ key: string }>(
    `select t.${column}::text as key
       from ${o.table} t
      where ${rows.where(o.dueParameters.length + 1)}
        and ${step.due}
        ${step.lock} of t${others === 'wait' ? '' : ' skip locked'}`,
    [...o.dueParameters, ...rows.parameters],
  );
  return result.rows.map((row) => row.key);
}

/** Those of some rows that a step is still due for now that they are locked, in a statement and so a snapshot of its own. */
export async function lookAgain(
  client: pg.Client,
  o: Operation,
  step: Step,
  column: KeyColumn,
  keys: readonly string[],
): Promise<string[]> {
  if (keys.length === 0) return [];
  const rows = rowsByKey(column, keys);
  const result = await client.query<{ key: string }>(
    `select t.${column}::text as key
       from ${o.table} t
      where ${rows.where(o.dueParameters.length + 1)}
        and ${step.due}`,
    [...o.dueParameters, ...rows.parameters],
  );
  return result.rows.map((row) => row.key);
}

/**
 * Runs the one statement of a transaction that changes rows, as the application would; deferred constraints are checked too.
 * How many rows it took, and whether triggers or rules may have changed what it wrote.
 */
async function change(
  client: pg.Client,
  { table, updates }: Operation,
  text: string,
  values: unknown[],
): Promise<{ changed: number; watched: boolean }> {
  await asAtLogin(client);
  try {
    const { rowCount } = await client.query(text, values);
    return rowCount ? { changed: rowCount, watched: await settle(client, table) } : { changed: 0, watched: false };
  } catch (cause) {
    throw refusesRows(cause) ? new RowsRefused(cause as Error, updates) : cause;
  }
}
