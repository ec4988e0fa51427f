import { type Model, timeText } from './model.ts';
import type { TestDatabase } from './postgres/database.ts';

type Table = 'sessions' | 'instructions' | 'connections' | 'acknowledgements';

/** Whole tables: rows by their public ids, times as text, JSON parsed, SQL NULL as undefined where it is JSON. */
type Contents = Record<Table, Record<string, object>>;

const time = (column: string) => `to_char(${column}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** Every column of the model, by the model's name. */
const queries: Record<Table, string> = {
  sessions: `
    select session_id as id, status, ${time('ended_at')} as "endedAt", experimental_parameters::text as parameters
      from agentsession`,
  instructions: `
    select instruction_id as id, status, ${time('created_at')} as "createdAt", payload::text,
           instruction_metadata::text as metadata
      from agentinstruction`,
  connections: `
    select connection_id as id, status, ${time('last_heartbeat_at')} as "heartbeatAt", ${time('closed_at')} as "closedAt",
           close_reason as "closeReason"
      from agentconnection`,
  acknowledgements: `
    select acknowledgement_id as id, instruction_id as instruction, ${time('created_at')} as "createdAt"
      from agentinstructionacknowledgement`,
};

const tables = Object.keys(queries) as Table[];

/** What the tables hold. */
export async function contentsOf({ pool }: Pick<TestDatabase, 'pool'>): Promise<Contents> {
  const contents = {} as Contents;
  for (const table of tables) {
    const { rows } = await pool.query<{ id: string }>(queries[table]);
    contents[table] = Object.fromEntries(rows.map(({ id, ...row }) => [id, comparable(row)]));
  }
  return contents;
}

/** What the tables must hold. */
export function contentsOfModel(model: Model): Contents {
  const rowsOf = (table: Table) =>
    Object.fromEntries([...model[table]].map(([id, row]) => [id, comparable({ ...row })]));
  return Object.fromEntries(tables.map((table) => [table, rowsOf(table)])) as Contents;
}

const jsonColumns = ['parameters', 'payload', 'metadata'];

function comparable(row: object): object {
  const cells = Object.entries(row).map(([column, value]) => {
    if (jsonColumns.includes(column)) return [column, value === null ? undefined : JSON.parse(value)];
    return [column, typeof value === 'number' ? timeText(value) : value];
  });
  return Object.fromEntries(cells);
}
