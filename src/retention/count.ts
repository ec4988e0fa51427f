import type pg from 'pg';
import type { Changes, Operation } from './operation.ts';

/** The statement that counts the rows an action of the operation would happen to; its parameters are dueParameters. */
export function countStatement(operation: Operation, action: keyof Changes): string {
  return `select count(*) as ${action} from ${operation.dueBy[action]}`;
}

/** What an operation would do to the rows that are due in the client's snapshot. Takes no locks. */
export async function countDue(client: pg.Client, operation: Operation): Promise<Changes> {
  const changes: Changes = {};
  for (const action of Object.keys(operation.dueBy) as (keyof Changes)[]) {
    const { rows } = await client.query<Record<string, string>>(countStatement(operation, action), [
      ...operation.dueParameters,
    ]);
    changes[action] = Number(rows[0]![action]);
  }
  return changes;
}
