import type pg from 'pg';
import type { Operation, Step } from './operation.ts';

/** Some rows of a table, by an SQL condition on its alias `t` whose parameters begin at `$first`. */
export interface Rows {
  where(first: number): string;
  parameters: readonly unknown[];
}

/** Rows by a column that tells them apart, as text: the primary key, or within one transaction their place `ctid`. */
export function rowsByKey(column: string, keys: readonly string[]): Rows {
  const type = column === 'ctid' ? '::tid[]' : '';
  return { where: (first) => `t.${column} = any($${first}${type})`, parameters: [keys] };
}

/** Rows whose place is in the blocks from `from` to before `to`. */
export function rowsInBlocks(from: number, to: number): Rows {
  return {
    where: (first) => `t.ctid >= $${first}::tid and t.ctid < $${first + 1}::tid`,
    parameters: [`(${from},0)`, `(${to},0)`],
  };
}

/**
 * Locks those of some rows that a step is due for, and returns their keys from `column`. Condition and lock stand at one
 * query level: around a subselect, rows would be locked and changed that are no longer due (measured). Rows that others
 * hold locked are passed over, or waited for up to the lock timeout.
 */
export async function lockRows(
  client: pg.Client,
  o: Operation,
  step: Step,
  rows: Rows,
  column: string,
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

/** Changes those of some rows that a step is due for; how many. Waits for rows that others hold locked. */
export async function changeRows(client: pg.Client, o: Operation, step: Step, rows: Rows): Promise<number> {
  const own = [...o.dueParameters, ...step.changeParameters];
  const { rowCount } = await client.query(
    `${step.change}
      where ${rows.where(own.length + 1)}
        and ${step.due}`,
    [...own, ...rows.parameters],
  );
  return rowCount ?? 0;
}

/**
 * Changes rows that the same transaction has locked, as far as the step is still due for them now that they are locked.
 * Throws where rows stay as they were although they are due: a trigger or a rule that swallows a change would look like
 * a run with nothing to do.
 */
export async function changeLockedRows(
  client: pg.Client,
  o: Operation,
  step: Step,
  column: string,
  keys: readonly string[],
): Promise<number> {
  if (keys.length === 0) return 0;
  const rows = rowsByKey(column, keys);
  let changed = 0;
  // An acknowledgement that came or went makes a row due again between two statements: a second try changes it then.
  for (let tries = 0; tries < 2; tries++) {
    changed += await changeRows(client, o, step, rows);
    if (changed === keys.length) return changed;
    if (changed < keys.length && (await countDueOf(client, o, step, rows)) === 0) return changed;
  }
  throw new Error(
    `${keys.length} rows of ${o.table} were locked and ${changed} changed: a trigger or a rule of that table keeps them`,
  );
}

async function countDueOf(client: pg.Client, o: Operation, step: Step, rows: Rows): Promise<number> {
  const { rows: counted } = await client.query<{ count: string }>(
    `select count(*) as count
       from ${o.table} t
      where ${rows.where(o.dueParameters.length + 1)}
        and ${step.due}`,
    [...o.dueParameters, ...rows.parameters],
  );
  return Number(counted[0]!.count);
}
