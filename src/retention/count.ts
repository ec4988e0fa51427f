import type pg from 'pg';
import type { Changes, Operation, Step } from './operation.ts';

/** The statement that counts the rows a step is due for; its parameters are the operation's dueParameters. */
export function countStatement({ action, from }: Step): string {
  return `select count(*) as ${action} from ${from}`;
}

/** What an operation would do to the rows that are due in the client's snapshot. Takes no locks. */
export async function countDue(client: pg.Client, { steps, dueParameters }: Operation): Promise<Changes> {
  const changes: Changes = {};
  for (const step of steps) {
    const { rows } = await client.query<Record<string, string>>(countStatement(step), [...dueParameters]);
    changes[step.action] = Number(rows[0]![step.action]);
  }
  return changes;
}
