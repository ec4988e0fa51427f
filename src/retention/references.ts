import type pg from 'pg';
import { ConfigurationError } from '../database/config.ts';
import type { Tables } from './tables.ts';

/** A foreign key by which rows of some table refer to rows of an agent table. */
export interface Reference {
  /** Schema and table, for people. */
  table: string;
  /** `select from … r where …`: the rows that refer to the row `t`, by the key's own operators. */
  rows: string;
  /** True where the table refers to itself. */
  own: boolean;
  /** What a run lacks to look for them, as SQL for the owner. */
  missing: string[];
}

/** All foreign keys into one table and its partitions. */
export interface InboundKeys {
  references: Reference[];
  /** Changes when a key that PostgreSQL enforces is added, removed, switched off, made deferrable, or has its tables or columns renamed. */
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

/** The table of `$1` with its partitions, and what it is itself a partition of: a key may lead to any of them. */
const family = `with recursive tree (rel) as (
     select $1::text::regclass
      union all
     select i.inhrelid from tree join pg_inherits i on i.inhparent = tree.rel),
   above (rel) as (
     select $1::text::regclass
      union all
     select i.inhparent from above join pg_inherits i on i.inhrelid = above.rel),
   family (rel) as (select rel from tree union select rel from above)`;

/** SQL query for the oids of a constraint and of those that partitions have of it. */
export function constraintTree(constraint: string): string {
  return `with recursive parts (oid) as (
            select ${constraint}
             union all
            select p.oid from parts join pg_constraint p on p.conparentid = parts.oid)
          select oid from parts`;
}

/** SQL for the cast to a type, by its name in the catalog, without length or precision; nothing for a polymorphic one. */
function castTo(type: string): string {
  return `(select case when y.typtype = 'p' then '' else format('::%I.%I', s.nspname, y.typname) end
             from pg_type y join pg_namespace s on s.oid = y.typnamespace where y.oid = ${type})`;
}

/**
 * Every foreign key into the table or one of its partitions, whatever its ON DELETE says; the acknowledgements' own into
 * the instructions excepted, which the operation itself looks at.
 */
async function referencesTo(client: pg.Client, tables: Tables, name: DeletedFrom): Promise<Reference[]> {
  const { rows } = await client.query<Omit<Reference, 'missing'> & { missing: (string | null)[]; switches: string[] }>(
    `${family}
     select c.table,
            c.oid in (select rel from family) as own,
            k.switches,
            format('select from %s r where %s%s', c.quoted, k.equal,
                   -- A row that refers to itself does not keep itself.
                   case when c.oid in (select rel from family)
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
                   then format('create index %son %s (%s);', case when c.relkind = 'r' then 'concurrently ' end, c.quoted, k.columns)
                   end] as missing
       from family
       join pg_constraint f on f.confrelid = family.rel and f.contype = 'f' and f.conparentid = 0
      cross join lateral
            (select c.oid, c.relkind, n.nspname::text as schema, n.nspname || '.' || c.relname as "table",
                    format('%I.%I', n.nspname, c.relname) as quoted
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where c.oid = f.conrelid) c
      cross join lateral
            -- Cast to the operator's own types: for others, such as domains, somebody may have made a better match.
            (select string_agg(format('t.%I%s operator(%I.%s) r.%I%s', b.attname, l.typed, n.nspname, o.oprname, a.attname, r.typed),
                               ' and ' order by u.place) as equal,
                    array(select format('alter table %s enable trigger %I;', g.tgrelid::regclass, g.tgname)
                            from (${constraintTree('f.oid')}) tree
                            join pg_trigger g on g.tgconstraint = tree.oid
                           where g.tgenabled not in ('O', 'A')) as switches,
                    string_agg(quote_ident(a.attname), ', ' order by u.place) as columns,
                    bool_and(has_column_privilege(f.conrelid, a.attnum, 'select')) as readable,
                    array_agg(a.attname::text order by u.place) as names,
                    array_agg(b.attname::text order by u.place) as referred
               from unnest(f.conkey, f.confkey, f.conpfeqop) with ordinality u (ours, theirs, operator, place)
               join pg_attribute a on a.attrelid = f.conrelid and a.attnum = u.ours
               join pg_attribute b on b.attrelid = f.confrelid and b.attnum = u.theirs
               join pg_operator o on o.oid = u.operator
               join pg_namespace n on n.oid = o.oprnamespace
              cross join lateral (select ${castTo('o.oprleft')}) l (typed)
              cross join lateral (select ${castTo('o.oprright')}) r (typed)) k
      where not ($3 and f.conrelid = $2::text::regclass
                 and k.names = array['instruction_id'] and k.referred = array['instruction_id'])
      order by c.table, f.conname`,
    [tables[name], tables.acknowledgement, name === 'instruction'],
  );
  return rows.map(({ missing, switches, ...reference }) => ({
    ...reference,
    missing: [...missing.filter((statement) => statement !== null), ...switches],
  }));
}

/** Of the triggers, on both sides, by which PostgreSQL enforces the keys into a table, with the names that a look goes by. */
async function readFingerprint(client: pg.Client, table: string): Promise<string> {
  const { rows } = await client.query<{ fingerprint: string }>(
    `${family}
     select coalesce(md5(string_agg(d.text, ',' order by d.text)), '') as fingerprint
       from (select concat_ws(' ', g.oid, g.tgenabled, g.tgdeferrable, n.nspname, c.relname,
                              array(select a.attname::text
                                      from pg_attribute a
                                     where a.attrelid = g.tgrelid
                                       and a.attnum = any(case when g.tgrelid = f.conrelid then f.conkey else f.confkey end)
                                     order by a.attnum)) as text
               from (select distinct own.tgconstraint as oid
                       from pg_trigger own
                      where own.tgisinternal and own.tgrelid in (select rel from tree)) own
              cross join lateral (${constraintTree('own.oid')}) part
               join pg_constraint f on f.oid = part.oid
               join pg_trigger g on g.tgconstraint = f.oid
               join pg_class c on c.oid = g.tgrelid
               join pg_namespace n on n.oid = c.relnamespace) d`,
    [table],
  );
  return rows[0]!.fingerprint;
}

/** Keeps new foreign keys out of a table until the transaction ends. */
export async function keepKeysOut(client: pg.Client, table: string): Promise<void> {
  await client.query(`lock table ${table} in row exclusive mode`);
}

/**
 * Throws if the keys into a table are not those any more that the run knows: rows that refer by others may have been deleted with
 * theirs. To be called after the delete, under the run's own path; it is rolled back then: only a change that comes later still has
 * done no harm.
 */
export async function compareKeys(client: pg.Client, table: string, { fingerprint }: InboundKeys): Promise<void> {
  if ((await readFingerprint(client, table)) === fingerprint) return;
  throw new Error(
    `a foreign key into ${table} was added, removed, switched off or renamed while the run was at work; the next run looks at all of them again`,
  );
}

/** Throws ConfigurationError where another table's key leads to columns that an operation updates: its rows would change too. */
export async function checkUpdatedColumns(client: pg.Client, table: string, columns: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ key: string; referring: string; column: string }>(
    `${family}
     select f.conname::text as key, f.conrelid::regclass::text as referring, b.attname::text as column
       from family
       join pg_constraint f on f.confrelid = family.rel and f.contype = 'f' and f.conparentid = 0
       join pg_attribute b on b.attrelid = f.confrelid and b.attnum = any(f.confkey)
      where b.attname = any($2)
      order by 1, 2, 3
      limit 1`,
    [table, columns],
  );
  const [found] = rows;
  if (found === undefined) return;
  throw new ConfigurationError(
    `nothing was changed: the foreign key ${found.key} of ${found.referring} leads to column ${found.column} of ${table}, which this operation updates: rows of ${found.referring} would change with it. Let the key lead to other columns, or leave the operation out`,
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
