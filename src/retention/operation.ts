import type pg from 'pg';
import type { EffectiveRetention } from '../api/effective.ts';
import type { CleanupOperation } from '../api/spec.ts';
import type { Tables } from './tables.ts';

/** What one batch, or one dry run, did to rows. */
export interface Changes {
  closed?: number;
  archived?: number;
  deleted?: number;
}

/** Everything an operation's SQL is made of: no value of it is ever part of the text. */
export interface Scope {
  tables: Tables;
  retention: EffectiveRetention;
  /** The run's instant, `YYYY-MM-DDTHH:MM:SS.ffffffZ`, from the database's clock. */
  instant: string;
}

/** One operation on one table: which rows are due, and what happens to a batch of them. */
export interface Operation {
  name: CleanupOperation;
  table: string;
  /** Column that a row's age is counted from, and the primary key: together the keyset. */
  ageColumn: string;
  primaryKey: string;
  /** Rows whose age column is older than this are past their age; text in the column's own type. */
  cutoff: string;
  /** SQL condition on the table, aliased `t`; its parameters are `$1` to `$n`. */
  due: string;
  dueParameters: readonly unknown[];
  /** The due rows by what happens to them: what a count of all of them selects from. Its parameters are those of `due`. */
  dueBy: Partial<Record<keyof Changes, string>>;
  /** Changes rows that the same transaction has locked while they were due. */
  change(client: pg.Client, ids: readonly string[]): Promise<Changes>;
}

/**
 * How many of the locked rows a statement changed: all of them, or the batch is rolled back. A trigger or a rule that
 * swallows a change would otherwise look like a run with nothing to do.
 */
export function allChanged({ rowCount }: pg.QueryResult, ids: readonly string[], table: string): number {
  if (rowCount === ids.length) return ids.length;
  throw new Error(
    `${ids.length} rows of ${table} were locked and ${rowCount ?? 0} changed: a trigger or a rule of that table keeps them`,
  );
}

/** Adds up what batches did. */
export function addChanges(total: Changes, more: Changes): Changes {
  const sum = { ...total };
  for (const key of ['closed', 'archived', 'deleted'] as const) {
    const value = more[key];
    if (value !== undefined) sum[key] = (sum[key] ?? 0) + value;
  }
  return sum;
}

/** Rows that changed in all. */
export function rowsOf({ closed = 0, archived = 0, deleted = 0 }: Changes): number {
  return closed + archived + deleted;
}
