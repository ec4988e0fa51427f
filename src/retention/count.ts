import type pg from 'pg';
import type { Changes, Operation } from './operation.ts';

/** What an operation would do to the rows that are due in the client's snapshot. Takes no locks. */
export async function countDue(client: pg.Client, operation: Operation): Promise<Changes> {
  const changes: Changes = {};
  for (const step of operation.steps) {
    const { rows } = await client.query<{ count: string }>(
      `select count(*) as count from ${operation.table} t where ${step.due}`,
      [...operation.dueParameters],
    );
    changes[step.action] = Number(rows[0]!.count);
  }
  return changes;
}
