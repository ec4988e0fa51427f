import { createHash } from 'node:crypto';
import type pg from 'pg';

/**
 * What tells the schema of this database from any other: a hash, so that no name of a Secret's shows. It is the same
 * whoever connects, by whatever address; a copy of the server's files has it too until its database is renamed. Undefined
 * where the role may not read it. To be called outside of a transaction.
 */
export async function fingerprintOf(client: pg.Client, schema: string): Promise<string | undefined> {
  try {
    const { rows } = await client.query<{ system: string; oid: string; name: string }>(
      `select s.system_identifier::pg_catalog.text as system,
              d.oid::pg_catalog.text as oid,
              d.datname::pg_catalog.text as name
         from pg_catalog.pg_control_system() as s
        cross join pg_catalog.pg_database as d
        where d.datname operator(pg_catalog.=) pg_catalog.current_database()`,
    );
    const { system, oid, name } = rows[0]!;
    return createHash('sha256')
      .update(JSON.stringify([system, oid, name, schema]))
      .digest('hex')
      .slice(0, 16);
  } catch {
    // Whatever is wrong with the connection, the run itself is told of at its first statement.
    return undefined;
  }
}
