import type pg from 'pg';
import { z } from 'zod';

/** A statement and its parameters. */
export interface Query {
  text: string;
  values: unknown[];
}

/** What of the planner's own account of a statement is used here. */
export interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string | undefined;
  'Index Name'?: string | undefined;
  'Plan Rows': number;
  'Total Cost': number;
  Plans?: PlanNode[] | undefined;
}

const planNode: z.ZodType<PlanNode> = z.object({
  'Node Type': z.string(),
  'Relation Name': z.string().optional(),
  'Index Name': z.string().optional(),
  'Plan Rows': z.number(),
  'Total Cost': z.number(),
  get Plans() {
    return z.array(planNode).optional();
  },
});
const explained = z.tuple([z.object({ Plan: planNode })]);

/** How the server would run a statement, which is not run. */
export async function explain(client: pg.Client, { text, values }: Query): Promise<PlanNode> {
  const { rows } = await client.query<{ 'QUERY PLAN': unknown }>(`explain (format json) ${text}`, values);
  return explained.parse(rows[0]!['QUERY PLAN'])[0].Plan;
}

/** The planner's cost of a statement. */
export async function costOf(client: pg.Client, query: Query): Promise<number> {
  return (await explain(client, query))['Total Cost'];
}
