import type { Client } from 'pg';

/** Where the server's log stands. */
export async function walPosition(client: Client): Promise<string> {
  const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  return rows[0]!.lsn;
}

/** Bytes of log that the whole server wrote since a position. */
export async function walSince(client: Client, position: string): Promise<number> {
  const { rows } = await client.query<{ bytes: number }>(
    'select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)::float8 as bytes',
    [position],
  );
  return rows[0]!.bytes;
}
