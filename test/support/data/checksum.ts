import type { ClientBase } from 'pg';

export const agentTables = [
  'agentsession',
  'agentinstruction',
  'agentconnection',
  'agentinstructionacknowledgement',
] as const;

export type AgentTable = (typeof agentTables)[number];

/**
 * A checksum of each agent table over its rows in any order, from one snapshot. Every column counts but those named in
 * `leaveOut`; SQL NULL and JSON null differ. Only comparable between tables with the same columns.
 */
export async function checksums(client: ClientBase, leaveOut: string[] = []): Promise<Record<AgentTable, string>> {
  await client.query('begin isolation level repeatable read read only');
  try {
    await client.query(`set local timezone to 'UTC'`);
    const sums: Partial<Record<AgentTable, string>> = {};
    for (const table of agentTables) sums[table] = await checksum(client, table, leaveOut);
    return sums as Record<AgentTable, string>;
  } finally {
    await client.query('rollback');
  }
}

async function checksum(client: ClientBase, table: AgentTable, leaveOut: string[]): Promise<string> {
  const columns = await client.query<{ attname: string }>(
    `select attname from pg_attribute
     where attrelid = $1::regclass and attnum > 0 and not attisdropped and attname <> all ($2)
     order by attnum`,
    [table, leaveOut],
  );
  const list = columns.rows.map(({ attname }) => client.escapeIdentifier(attname)).join(', ');
  const { rows } = await client.query<{ sum: string }>(
    `select md5(coalesce(string_agg(hash, '' order by hash collate "C"), '')) as sum
     from (select md5(row(${list})::text) as hash from ${client.escapeIdentifier(table)}) as hashed`,
  );
  return rows[0]!.sum;
}
