import type pg from 'pg';
import type { OperationResult } from '../api/run-result.ts';
import type { Operation } from './operation.ts';

/** Rows past their age that stay because rows of another table refer to them. */
export type Kept = NonNullable<OperationResult['kept']>[number];

/** More tables than this are left out of a result, those with the fewest rows first. */
const mostTables = 16;

/** How many rows of an operation's table other tables keep, in the client's snapshot; those that keep none are left out. */
export async function countKept(client: pg.Client, { kept, dueParameters }: Operation): Promise<Kept[]> {
  const counted = new Map<string, number>();
  for (const { table, from } of kept) {
    const { rows } = await client.query<{ count: string }>(`select count(*) as count from ${from}`, [...dueParameters]);
    // Of several keys of one table the largest number: rows to which both refer are in both.
    counted.set(table, Math.max(counted.get(table) ?? 0, Number(rows[0]!.count)));
  }
  return [...counted]
    .map(([table, rows]) => ({ table, rows }))
    .filter(({ rows }) => rows > 0)
    .sort((a, b) => b.rows - a.rows)
    .slice(0, mostTables);
}

/** What is to be said of them. */
export function keptNotes(kept: readonly Kept[]): string[] {
  return kept.map(
    ({ table, rows }) => `${rows} rows past their age were not deleted, because rows of ${table} refer to them`,
  );
}
