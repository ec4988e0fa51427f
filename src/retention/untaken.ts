import type pg from 'pg';
import type { OperationResult } from '../api/run-result.ts';
import { costOf, type Query } from './explain.ts';
import type { Operation } from './operation.ts';

/** Rows of an operation's table that it will not take, however old they get; what was not counted is left out. */
export type Untaken = Pick<OperationResult, 'undated' | 'uncovered' | 'alreadyArchived'>;

/** Up to this cost, in the planner's units, a run counts them: some 20 MB read in sequence, whatever is kept beside. */
const cheapEnough = 2_500;

/** What counts the rows that an operation will not take, by the reason. */
export function untakenQueries({ table, untaken }: Operation): Partial<Record<keyof Untaken, Query>> {
  return Object.fromEntries(
    Object.entries(untaken).map(([reason, { where, values }]) => [
      reason,
      { text: `select count(*) as count from ${table} t where ${where}`, values: [...values] },
    ]),
  );
}

/** Counts them in the client's snapshot, each where the planner finds it cheap enough for every run. */
export async function countUntaken(client: pg.Client, operation: Operation): Promise<Untaken> {
  const counted: Untaken = {};
  for (const [reason, query] of Object.entries(untakenQueries(operation)) as [keyof Untaken, Query][]) {
    if ((await costOf(client, query)) <= cheapEnough) counted[reason] = await countOne(client, query);
  }
  return counted;
}

/** The number that such a query counts. */
export async function countOne(client: pg.Client, { text, values }: Query): Promise<number> {
  const { rows } = await client.query<{ count: string }>(text, values);
  return Number(rows[0]!.count);
}
