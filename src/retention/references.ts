import type pg from 'pg';
import { ConfigurationError } from '../database/config.ts';
import type { Tables } from './tables.ts';

/** A foreign key by which rows of some table refer to rows of an agent table. */
export interface Reference {
  /** Schema and table, for people. */
  table: string;
  /** `select from … r where …`: the rows that refer to the row `t`, by the key's own operators. */
  rows: string;
  /** What a run lacks to look for them, as SQL for the owner. */
  missing: string[];
}

/** All foreign keys into one table and its partitions. */
export interface InboundKeys {
  references: Reference[];
  /** Changes when a key that PostgreSQL enforces is added or removed. */
  fingerprint: string;
}

/** The tables that a run deletes from. */
export type DeletedFrom = 'instruction' | 'acknowledgement';

/** The keys into the tables that a run deletes from, as they are in the client's snapshot. */
export async function inboundKeys(client: pg.Client, tables: Tables): Promise<Record<DeletedFrom, InboundKeys>> {
  return {
    instruction: await keysInto(client, tables, 'instruction'),
    acknowledgement: await keysInto(client, tables, 'acknowledgement'),
  };
}

async function keysInto(client: pg.Client, tables: Tables, name: DeletedFrom): Promise<InboundKeys> {
  const fingerprint = await readFingerprint(client, tables[name]);
  return { references: await referencesTo(client, tables, name), fingerprint };
}

const treeOf = (table: string) =>
  `with recursive tree (rel) as (
     select ${table}
      union all
     select i.inhrelid from tree join pg_inherits i on i.inhparent = tree.rel)`;

/**
 * Every foreign key into the table or one of its partitions, whatever its ON DELETE says; the acknowledgements' own into
 * the instructions excepted, which the operation itself looks at.
 */
async function referencesTo(client: pg.Client, tables: Tables, name: DeletedFrom): Promise<Reference[]> {
  const { rows } = await client.query<Omit<Reference, 'missing'> & { missing: (string | null)[] }>(
    `${treeOf('$1::text::regclass')}
     select c.table,
            format('select from %s r where %s%s', c.quoted, k.equal,
                   -- A row that refers to itself does not keep itself.
                   case when c.oid in (select rel from tree)
                        then ' and not (r.tableoid operator(pg_catalog.=) t.tableoid and r.ctid operator(pg_catalog.=) t.ctid)'
                        else '' end) as rows,
            array[
              case when not has_schema_privilege(c.schema, 'usage')
                   then format('grant usage on schema %I to ROLE;', c.schema) end,
              case when not has_table_privilege(c.oid, 'select') and not k.readable
                   then format('grant select (%s) on %s to ROLE;', k.columns, c.quoted) end,
              case when not exists
                        (select from pg_index x
                           join pg_class i on i.oid = x.indexrelid
                           join pg_am m on m.oid = i.relam
                          where x.indrelid = c.oid and x.indisvalid and x.indpred is null
                            and m.amname in ('btree', 'hash') and x.indkey[0] = any(f.conkey))
                   then format('create index %son %s (%s);', case c.relkind when 'r' then 'concurrently ' end, c.quoted, k.columns)
                   end] as missing
       from tree
       join pg_constraint f on f.confrelid = tree.rel and f.contype = 'f' and f.conparentid = 0
      cross join lateral
            (select c.oid, c.relkind, n.nspname::text as schema, n.nspname || '.' || c.relname as "table",
                    format('%I.%I', n.nspname, c.relname) as quoted
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where c.oid = f.conrelid) c
      cross join lateral
            (select string_agg(format('t.%I operator(%I.%s) r.%I', b.attname, n.nspname, o.oprname, a.attname),
                               ' and ' order by u.place) as equal,
                    string_agg(quote_ident(a.attname), ', ' order by u.place) as columns,
                    bool_and(has_column_privilege(f.conrelid, a.attnum, 'select')) as readable,
                    array_agg(a.attname::text order by u.place) as names,
                    array_agg(b.attname::text order by u.place) as referred
               from unnest(f.conkey, f.confkey, f.conpfeqop) with ordinality u (ours, theirs, operator, place)
               join pg_attribute a on a.attrelid = f.conrelid and a.attnum = u.ours
               join pg_attribute b on b.attrelid = f.confrelid and b.attnum = u.theirs
               join pg_operator o on o.oid = u.operator
               join pg_namespace n on n.oid = o.oprnamespace) k
      where not ($3 and f.conrelid = $2::text::regclass
                 and k.names = array['instruction_id'] and k.referred = array['instruction_id'])
      order by c.table, f.conname`,
    [tables[name], tables.acknowledgement, name === 'instruction'],
  );
  return rows.map(({ table, rows: referring, missing }) => ({
    table,
    rows: referring,
    missing: missing.filter((statement) => statement !== null),
  }));
}

/** Of the triggers by which PostgreSQL enforces the keys into a table: a key that comes or goes changes it. */
async function readFingerprint(client: pg.Client, table: string): Promise<string> {
  const { rows } = await client.query<{ fingerprint: string }>(
    `${treeOf('$1::text::regclass')}
     select coalesce(md5(string_agg(g.oid::text, ',' order by g.oid)), '') as fingerprint
       from pg_trigger g
      where g.tgisinternal and g.tgrelid in (select rel from tree)`,
    [table],
  );
  return rows[0]!.fingerprint;
}

/**
 * Keeps new foreign keys out of a table until the transaction ends, and throws if some came or went since the run looked:
 * rows that refer by one that it does not know would be deleted with theirs.
 */
export async function keepKeysOut(client: pg.Client, table: string, { fingerprint }: InboundKeys): Promise<void> {
  await client.query(`lock table ${table} in row exclusive mode`);
  if ((await readFingerprint(client, table)) === fingerprint) return;
  throw new Error(
    `a foreign key into ${table} was added or removed while the run was at work; the next run looks at all of them again`,
  );
}

/** Throws ConfigurationError with the SQL that is missing where a run could not look, or only by reading all of a table. */
export function checkReferences(table: string, references: readonly Reference[]): void {
  const lacking = references.filter(({ missing }) => missing.length > 0);
  if (lacking.length === 0) return;
  const names = lacking.map((reference) => reference.table).join(', ');
  const sql = [...new Set(lacking.flatMap(({ missing }) => missing))].join(' ');
  throw new ConfigurationError(
    `nothing was changed: rows of ${names} may refer to rows of ${table}, which keeps these. To look for them a run must be able to read the foreign key's columns, and needs an index that begins with one. Missing: ${sql.includes('ROLE') ? `(ROLE is whom the run logs in as) ` : ''}${sql}`,
  );
}
