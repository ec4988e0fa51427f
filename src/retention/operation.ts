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
  /** Select list that counts due rows by what would happen to them; columns named as in Changes. */
  counts: string;
  /** Changes rows that the same transaction has locked while they were due. */
  change(client: pg.Client, ids: readonly string[]): Promise<Changes>;
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
