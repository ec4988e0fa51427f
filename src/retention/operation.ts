import type { EffectiveRetention } from '../api/effective.ts';
import type { CleanupOperation } from '../api/spec.ts';
import type { DeletedFrom, InboundKeys } from './references.ts';
import type { Tables } from './tables.ts';

/** What can happen to a row. */
const actions = ['closed', 'archived', 'deleted'] as const;
type Action = (typeof actions)[number];

/** Rows by what happened to them in one batch, or would in a dry run. */
export type Changes = Partial<Record<Action, number>>;

/** Everything an operation's SQL is made of: no value of it is ever part of the text. */
export interface Scope {
  tables: Tables;
  retention: EffectiveRetention;
  /** The run's instant, `YYYY-MM-DDTHH:MM:SS.ffffffZ`, from the database's clock. */
  instant: string;
  /** The foreign keys into the tables that are deleted from. */
  keys: Record<DeletedFrom, InboundKeys>;
}

/** Some rows of a table, by an SQL condition on its alias `t` whose parameters begin at `$first`. */
export interface Rows {
  where(first: number): string;
  parameters: readonly unknown[];
}

/** The column by which a batch knows its rows: the primary key, or within one transaction their place `ctid`. */
export type KeyColumn = string;

/** Rows by a column that tells them apart, as text. */
export function rowsByKey(column: KeyColumn, keys: readonly string[]): Rows {
  const type = column === 'ctid' ? '::pg_catalog.tid[]' : '';
  return { where: (first) => `t.${column} operator(pg_catalog.=) any($${first}${type})`, parameters: [keys] };
}

/** One thing that an operation does to some of its due rows. */
export interface Step {
  action: Action;
  /**
   * SQL condition on the table, aliased `t`: which rows it is due for. Its parameters are the operation's `$1` to `$n`. Means the
   * same under any search_path, as `change` does: both are sent under the one that the role has at login.
   */
  due: string;
  /** What a statement that looks for all these rows at once selects from, as `t`, with its condition. */
  from: string;
  /** The row lock that the change needs. */
  lock: 'for update' | 'for no key update';
  /** `update … t set …` or `delete from … t`, without a condition; its parameters begin at `$first`. */
  change(first: number): string;
  changeParameters: readonly unknown[];
  /** What must hold for a row after the change, whatever triggers and rules do: it is gone, or meets a condition. */
  written: Rows | 'gone';
  /**
   * True where `due` looks at other rows than the one it changes. They are only looked at after the lock was granted,
   * by a statement of its own, since one statement keeps one snapshot. Elsewhere the change alone is enough: PostgreSQL
   * itself looks at the row again once it has the lock.
   */
  lockFirst: boolean;
}

/** One operation on one table: which rows are due, and what happens to them. */
export interface Operation {
  name: CleanupOperation;
  table: string;
  /** Column that a row's age is counted from, and the primary key: together the keyset. */
  ageColumn: string;
  primaryKey: string;
  /** Rows whose age column is older than this are past their age; text in the column's own type. */
  cutoff: string;
  dueParameters: readonly unknown[];
  /** Columns that it updates. */
  updates: readonly string[];
  /** Of the table, where rows are deleted from it. */
  keys?: InboundKeys;
  /** What counts the rows past their age that other tables' rows keep from being deleted, as a step's `from`. */
  kept: readonly { table: string; from: string }[];
  /**
   * Rows that it does not take however old they get, by the reason: conditions on the table, aliased `t`, each with parameters
   * of its own.
   */
  untaken: Partial<Record<'undated' | 'uncovered' | 'alreadyArchived', { where: string; values: readonly unknown[] }>>;
  /**
   * What statements that count the rows with something left to lose select from, due or not, as `t` with a condition: no
   * row twice, the cheapest first.
   */
  atStake: readonly string[];
  /** In the order in which they are done. */
  steps: readonly Step[];
  /** SQL that counts the rows of all steps at once, by action: for a backlog, of which each count reads most of the table. */
  countTogether?: string;
}

/** Adds up what batches did. */
export function addChanges(total: Changes, more: Changes): Changes {
  const sum = { ...total };
  for (const action of actions) {
    const value = more[action];
    if (value !== undefined) sum[action] = (sum[action] ?? 0) + value;
  }
  return sum;
}

/** Rows that changed in all. */
export function rowsOf({ closed = 0, archived = 0, deleted = 0 }: Changes): number {
  return closed + archived + deleted;
}

/** Rows that lost something: those deleted or archived. */
export function destroyed({ archived = 0, deleted = 0 }: Changes): number {
  return archived + deleted;
}
