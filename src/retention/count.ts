import type pg from 'pg';
import type { Changes, Operation } from './operation.ts';

/** What an operation would do to the rows that are due in the client's snapshot. Takes no locks. */
export async function countDue(client: pg.Client, operation: Operation): Promise<Changes> {
  const { rows } = await client.query<Record<string, string>>(
    `select ${operation.counts} from ${operation.table} t where ${operation.due}`,
    [...operation.dueParameters],
  );
  return Object.fromEntries(Object.entries(rows[0]!).map(([action, count]) => [action, Number(count)]));
}
