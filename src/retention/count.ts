import type pg from 'pg';
import { costOf, type Query } from './explain.ts';
import type { Changes, Operation, Step } from './operation.ts';

/** So many times cheaper must it look: on cached indexes step by step is faster than its cost says. */
const clearlyCheaper = 3;

/** Counts the rows that one step is due for. */
export function countQuery({ dueParameters }: Operation, { action, from }: Step): Query {
  return { text: `select count(*) as ${action} from ${from}`, values: [...dueParameters] };
}

/** What an operation would do to the rows that are due in the client's snapshot. Takes no locks. */
export async function countDue(client: pg.Client, operation: Operation): Promise<Changes> {
  const { text, values } = await cheapestCount(client, operation);
  const { rows } = await client.query<Record<keyof Changes, string>>(text, values);
  return Object.fromEntries(Object.entries(rows[0]!).map(([action, count]) => [action, Number(count)]));
}

/** Counts step by step, or all at once where the planner finds that clearly cheaper. */
async function cheapestCount(client: pg.Client, operation: Operation): Promise<Query> {
  const { steps, countTogether, dueParameters } = operation;
  const counts = steps.map((step) => `(${countQuery(operation, step).text}) as ${step.action}`);
  const stepByStep = { text: `select ${counts.join(', ')}`, values: [...dueParameters] };
  if (countTogether === undefined) return stepByStep;
  const atOnce = { text: countTogether, values: [...dueParameters] };
  const cheaper = (await costOf(client, atOnce)) * clearlyCheaper < (await costOf(client, stepByStep));
  return cheaper ? atOnce : stepByStep;
}
