import type pg from 'pg';
import { ConfigurationError } from '../database/config.ts';
import { tableNames } from './tables.ts';

/** Columns that the operations read or write, per table. */
const neededColumns: Record<keyof typeof tableNames, readonly string[]> = {
  session: ['id', 'status', 'created_at', 'ended_at', 'experimental_parameters'],
  instruction: ['id', 'instruction_id', 'status', 'created_at', 'payload', 'instruction_metadata'],
  connection: ['id', 'status', 'created_at', 'last_heartbeat_at', 'closed_at', 'close_reason'],
  acknowledgement: ['acknowledgement_id', 'instruction_id', 'created_at'],
};

const timestampTypes = ['timestamp without time zone', 'timestamp with time zone'];
const textTypes = ['character varying', 'text'];

/** Types a column may have; undefined where any will do. */
function allowedTypes(column: string): string[] | undefined {
  if (['experimental_parameters', 'payload', 'instruction_metadata'].includes(column)) return ['jsonb'];
  if (column === 'status') return textTypes;
  // Compared by PostgreSQL's own operators, which must find equal what the foreign key finds equal.
  if (column === 'instruction_id') return [...textTypes, 'uuid', 'integer', 'bigint'];
  return column.endsWith('_at') ? timestampTypes : undefined;
}

/** Type of a column, by table and column name, as PostgreSQL spells it. */
export type ColumnTypes = ReadonlyMap<string, string>;

/**
 * Types of all columns of the agent tables. Throws ConfigurationError for a table or column that is missing, or that
 * has a type on which the operations would not be right.
 */
export async function columnTypes(client: pg.Client, schema: string): Promise<ColumnTypes> {
  const { rows } = await client.query<{ table: string; view: boolean; column: string; type: string }>(
    `select c.relname::text as table, c.relkind not in ('r', 'p') as view,
            a.attname::text as column, format_type(a.atttypid, null) as type
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute a on a.attrelid = c.oid
      where n.nspname = $1
        and c.relname = any($2)
        and c.relkind in ('r', 'p', 'v', 'm', 'f')
        and a.attnum > 0
        and not a.attisdropped`,
    [schema, Object.values(tableNames)],
  );
  const types = new Map(rows.map((row) => [`${row.table}.${row.column}`, row.type]));
  for (const [key, columns] of Object.entries(neededColumns)) {
    const table = tableNames[key as keyof typeof tableNames];
    const found = rows.find((row) => row.table === table);
    if (found === undefined) {
      throw new ConfigurationError(
        `table ${table} does not exist in schema "${schema}" of this database; check spec.database.schema (--schema) and the database's name`,
      );
    }
    if (found.view) {
      throw new ConfigurationError(`${table} in schema "${schema}" is a view; it must be a table`);
    }
    for (const column of columns) checkType(types.get(`${table}.${column}`), table, column);
  }
  return types;
}

function checkType(type: string | undefined, table: string, column: string): void {
  if (type === undefined) throw new ConfigurationError(`table ${table} has no column ${column}`);
  const allowed = allowedTypes(column);
  if (allowed !== undefined && !allowed.includes(type)) {
    throw new ConfigurationError(`column ${table}.${column} has type ${type}; it must be ${allowed.join(' or ')}`);
  }
}

/**
 * Rows are locked and changed by their key: one that occurs twice would take a row along that is not due. Throws
 * ConfigurationError unless each table's key alone is unique, and nothing inherits from it with keys of its own.
 */
export async function checkKeys(client: pg.Client, schema: string): Promise<void> {
  const { rows } = await client.query<{ table: string; key: string; unique: boolean; inherited: boolean }>(
    `select c.relname::text as table, a.attname::text as key,
            exists (select from pg_index x
                     where x.indrelid = c.oid and x.indisunique and x.indisvalid and x.indimmediate
                       and x.indpred is null and x.indnkeyatts = 1 and x.indkey[0] = a.attnum
                       and x.indcollation[0] = a.attcollation) as unique,
            c.relkind = 'r' and exists (select from pg_inherits h where h.inhparent = c.oid) as inherited
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute a on a.attrelid = c.oid
        and a.attname = case when c.relname = $3 then 'acknowledgement_id' else 'id' end
      where n.nspname = $1
        and c.relname = any($2)`,
    [schema, Object.values(tableNames), tableNames.acknowledgement],
  );
  for (const { table, key, unique, inherited } of rows) {
    if (!unique) throw new ConfigurationError(`table ${table} must have a unique index on ${key} alone`);
    if (inherited) {
      throw new ConfigurationError(`table ${table} has children by inheritance, whose rows have keys of their own`);
    }
  }
}
