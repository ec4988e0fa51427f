import type pg from 'pg';
import { ConfigurationError } from '../database/config.ts';
import { tableNames } from './tables.ts';

/**
 * Throws ConfigurationError where Citus has spread an agent table over several shards, or copied it to every node: rows of several
 * nodes cannot be locked, looked at again and changed by the statements of a batch. Tables in one shard, by schema-based sharding
 * or `create_distributed_table(…, null)`, and local ones are as on plain PostgreSQL.
 */
export async function refuseDistributed(client: pg.Client, schema: string): Promise<void> {
  const { rows: known } = await client.query<{ citus: boolean }>(
    `select to_regclass('pg_catalog.pg_dist_partition') is not null as citus`,
  );
  if (!known[0]!.citus) return;
  const { rows } = await client.query<{ table: string; reference: boolean }>(
    `select c.relname::text as table, d.repmodel = 't' as reference
       from pg_catalog.pg_dist_partition d
       join pg_class c on c.oid = d.logicalrelid
       join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = $1
        and c.relname = any($2)
        and (d.repmodel = 't'
             or (d.partmethod <> 'n'
                 and (select count(*) from pg_catalog.pg_dist_shard s where s.logicalrelid = d.logicalrelid) > 1))
      order by c.relname`,
    [schema, Object.values(tableNames)],
  );
  if (rows.length === 0) return;
  const found = rows
    .map(({ table, reference }) => `${table} (${reference ? 'a reference table' : 'distributed over several shards'})`)
    .join(', ');
  throw new ConfigurationError(
    `nothing was changed: a run cannot lock rows together across nodes of Citus, as it had to in ${found}; move the agent tables to a schema of one shard (schema-based sharding), distribute them by create_distributed_table(…, null), or undistribute them`,
  );
}
