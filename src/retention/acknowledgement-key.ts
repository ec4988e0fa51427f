import type pg from 'pg';
import { escapeIdentifier } from 'pg';
import { ConfigurationError } from '../database/config.ts';
import { constraintTree } from './references.ts';
import type { Tables } from './tables.ts';

/**
 * Unless a foreign key holds each insert back, in whatever session, an acknowledgement could be committed while its instruction is
 * deleted, unseen; and without an index each look for acknowledgements reads the whole table. Throws ConfigurationError with the
 * SQL that is missing.
 */
export async function checkAcknowledgementKey(client: pg.Client, tables: Tables): Promise<void> {
  const missing = [...(await missingKey(client, tables)), ...(await missingIndex(client, tables))];
  if (missing.length === 0) return;
  const names = missing.join(' ').includes('DATABASE') ? " (DATABASE is the run's database)" : '';
  throw new ConfigurationError(
    `nothing was changed: acknowledgements can only be kept safe and found fast with a validated, enforced foreign key and an index on instruction_id, where every session checks that key at once. Missing: ${missing.join(' ')}${names}`,
  );
}

/** A trigger by which PostgreSQL checks a key, its table quoted; `own` on the side of the acknowledgements. */
interface Switch {
  table: string;
  trigger: string;
  own: boolean;
  state: string;
}

interface Key {
  name: string;
  validated: boolean;
  enforced: boolean;
  deferrable: boolean;
  switches: Switch[];
}

async function missingKey(client: pg.Client, tables: Tables): Promise<string[]> {
  const keys = await keysOf(client, tables);
  const alter = `alter table ${tables.acknowledgement}`;
  const missing = keys.map(({ name, validated, enforced, deferrable, switches }) => [
    ...(enforced ? [] : [`${alter} alter constraint ${escapeIdentifier(name)} enforced;`]),
    ...(validated || !enforced ? [] : [`${alter} validate constraint ${escapeIdentifier(name)};`]),
    ...(deferrable ? [`${alter} alter constraint ${escapeIdentifier(name)} not deferrable;`] : []),
    ...switches
      .filter(({ state }) => state !== 'O' && state !== 'A')
      .map(({ table, trigger }) => `alter table ${table} enable trigger ${escapeIdentifier(trigger)};`),
  ]);
  // One sound key is enough, however many there are.
  const sound = keys[missing.findIndex((statements) => statements.length === 0)];
  if (sound !== undefined) return uncheckedSessions(client, tables, sound);
  return missing[0] ?? [`${alter} add foreign key (instruction_id) references ${tables.instruction} (instruction_id);`];
}

/** The keys of the acknowledgements into the instructions, with the triggers of all partitions. */
async function keysOf(client: pg.Client, tables: Tables): Promise<Key[]> {
  const { rows } = await client.query<Omit<Key, 'switches'> & { key: string; schema: string | null } & Switch>(
    `select k.oid::text as key,
            k.conname::text as name,
            k.convalidated as validated,
            -- Unknown before PostgreSQL 18, where every key is enforced.
            to_jsonb(k) ->> 'conenforced' is distinct from 'false' as enforced,
            k.condeferrable as deferrable,
            n.nspname::text as schema,
            c.relname::text as "table",
            g.tgname::text as "trigger",
            g.tgrelid = p.conrelid as own,
            g.tgenabled::text as state
       from pg_constraint k
       join pg_attribute a on a.attrelid = k.conrelid and k.conkey = array[a.attnum]
       join pg_attribute b on b.attrelid = k.confrelid and k.confkey = array[b.attnum]
      cross join lateral (${constraintTree('k.oid')}) tree
       join pg_constraint p on p.oid = tree.oid
       left join pg_trigger g on g.tgconstraint = p.oid
       left join pg_class c on c.oid = g.tgrelid
       left join pg_namespace n on n.oid = c.relnamespace
      where k.contype = 'f'
        and k.conrelid = $1::text::regclass
        and k.confrelid = $2::text::regclass
        and a.attname = 'instruction_id'
        and b.attname = 'instruction_id'
      order by k.oid, c.relname, g.tgname`,
    [tables.acknowledgement, tables.instruction],
  );
  const keys = new Map<string, Key>();
  for (const { key, schema, table, ...row } of rows) {
    const found = keys.get(key) ?? { ...row, switches: [] };
    keys.set(key, found);
    // A key that is not enforced has no triggers.
    if (schema !== null) {
      found.switches.push({ ...row, table: `${escapeIdentifier(schema)}.${escapeIdentifier(table)}` });
    }
  }
  return [...keys.values()];
}

/**
 * What lets sessions insert acknowledgements without a check of the key, as far as the catalog shows it, as SQL that ends it:
 * `session_replication_role = replica` of the run itself, or set for a role that may insert; and logical replication.
 */
async function uncheckedSessions(client: pg.Client, tables: Tables, { switches }: Key): Promise<string[]> {
  const skipped = switches.filter(({ own, state }) => own && state !== 'A');
  if (skipped.length === 0) return [];
  const { rows: settings } = await client.query<{ role: string | null; database: boolean; own: boolean }>(
    `select r.rolname::text as role,
            s.setdatabase <> 0 as database,
            s.setrole = 0 or r.rolname = session_user as own
       from pg_db_role_setting s
      cross join lateral unnest(s.setconfig) c (setting)
       left join pg_roles r on r.oid = s.setrole
      where s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
        and lower(c.setting) = 'session_replication_role=replica'
        and (s.setrole = 0
             or exists (select
                          from pg_roles m
                         where pg_has_role(s.setrole, m.oid, 'member')
                           and has_table_privilege(m.oid, $1::text::regclass, 'insert')))
      order by 1 nulls first, 2`,
    [tables.acknowledgement],
  );
  const reset = settings.map(({ role, database }) => {
    if (role === null) return `alter ${database ? 'database DATABASE' : 'role all'} reset session_replication_role;`;
    return `alter role ${escapeIdentifier(role)} ${database ? 'in database DATABASE ' : ''}reset session_replication_role;`;
  });
  const { rows } = await client.query<{ replica: boolean; source: string; subscribed: boolean }>(
    `select s.setting = 'replica' as replica,
            s.source,
            exists (select from pg_subscription_rel r
                     where r.srrelid in (select $1::text::regclass union all select relid from pg_partition_tree($1::text::regclass)))
              as subscribed
       from pg_settings s
      where s.name = 'session_replication_role'`,
    [tables.acknowledgement],
  );
  const { replica, source, subscribed } = rows[0]!;
  return [
    ...reset,
    ...(replica && !settings.some(({ own }) => own) ? [ownRemedy(source)] : []),
    ...(subscribed
      ? skipped.map(({ table, trigger }) => `alter table ${table} enable always trigger ${escapeIdentifier(trigger)};`)
      : []),
  ];
}

/** How a session gets rid of a `session_replication_role` that is set for no role and no database. */
const ownRemedy = (source: string) =>
  source === 'configuration file' || source === 'command line'
    ? 'alter system reset session_replication_role; select pg_reload_conf();'
    : "a connection of the run's without session_replication_role = replica, in its options or otherwise.";

async function missingIndex(client: pg.Client, tables: Tables): Promise<string[]> {
  const { rows } = await client.query(
    `select
       from pg_index x
       join pg_class c on c.oid = x.indexrelid
       join pg_am m on m.oid = c.relam
       join pg_attribute a on a.attrelid = x.indrelid and a.attnum = x.indkey[0]
      where x.indrelid = $1::regclass
        and x.indisvalid
        and x.indpred is null
        and m.amname in ('btree', 'hash')
        and a.attname = 'instruction_id'`,
    [tables.acknowledgement],
  );
  return rows.length > 0 ? [] : [`create index concurrently on ${tables.acknowledgement} (instruction_id);`];
}
