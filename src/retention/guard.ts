import type pg from 'pg';
import type { z } from 'zod';
import type { guardSchema } from '../api/spec.ts';
import type { Changes, Operation } from './operation.ts';

export type Guard = z.output<typeof guardSchema>;

interface Due {
  operation: Operation;
  changes: Changes;
}

const destroyed = ({ changes }: Due) => (changes.archived ?? 0) + (changes.deleted ?? 0);
const number = new Intl.NumberFormat('en-US');

/**
 * Why the guard forbids a run, as a sentence with rule and count; undefined if it does not. Deletes and archives
 * count, closed connections do not.
 */
export async function guardViolation(
  client: pg.Client,
  guard: Guard,
  due: readonly Due[],
): Promise<string | undefined> {
  const total = due.reduce((sum, each) => sum + destroyed(each), 0);
  if (total > guard.maxRowsPerRun) {
    const parts = due
      .filter((each) => destroyed(each) > 0)
      .map((each) => `${each.operation.name} ${number.format(destroyed(each))}`);
    return `${number.format(total)} rows are due to be deleted or archived (${parts.join(', ')}), more than guard.maxRowsPerRun ${number.format(guard.maxRowsPerRun)}`;
  }
  for (const each of due) {
    const rows = destroyed(each);
    if (rows === 0) continue;
    // A table this large makes the share small enough; counting no further keeps the cost with the rows due.
    const enough = Math.ceil((rows * 100) / guard.maxPercentOfTable);
    const size = await countUpTo(client, each.operation.table, enough);
    if (size < enough) {
      const percent = Math.round((rows * 1000) / size) / 10;
      return `${each.operation.name}: ${number.format(rows)} of ${number.format(size)} rows (${percent}%) are due to be deleted or archived, more than guard.maxPercentOfTable ${guard.maxPercentOfTable}`;
    }
  }
  return undefined;
}

async function countUpTo(client: pg.Client, table: string, limit: number): Promise<number> {
  const { rows } = await client.query<{ count: string }>(
    `select count(*) as count from (select from ${table} limit $1) counted`,
    [limit],
  );
  return Number(rows[0]!.count);
}
