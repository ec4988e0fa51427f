import type pg from 'pg';
import { costOf, type Query } from './explain.ts';
import type { Changes, Operation, Step } from './operation.ts';

/** Counts the rows that one step is due for. */
export function countQuery({ dueParameters }: Operation, { action, from }: Step): Query {
  return { text: `select count(*) as ${action} from ${from}`, values: [...dueParameters] };
}

/** What an operation would do to the rows that are due in the client's snapshot. Takes no locks. */
export async function countDue(client: pg.Client, operation: Operation): Promise<Changes> {
  const changes: Changes = {};
  for (const { text, values } of await countQueries(client, operation)) {
    const { rows } = await client.query<Record<keyof Changes, string>>(text, values);
    for (const [action, count] of Object.entries(rows[0]!)) changes[action as keyof Changes] = Number(count);
  }
  return changes;
}

/** So many times cheaper must it look: on cached indexes step by step is faster than its cost says. */
const clearlyCheaper = 3;

/** Step by step, or all at once where the planner finds that clearly cheaper. */
async function countQueries(client: pg.Client, operation: Operation): Promise<Query[]> {
  const stepByStep = operation.steps.map((step) => countQuery(operation, step));
  if (operation.countTogether === undefined) return stepByStep;
  const atOnce = { text: operation.countTogether, values: [...operation.dueParameters] };
  let cost = 0;
  for (const query of stepByStep) cost += await costOf(client, query);
  return (await costOf(client, atOnce)) * clearlyCheaper < cost ? [atOnce] : stepByStep;
}
