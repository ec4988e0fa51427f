import type { Queryable } from '../data/due-rows.ts';

// Words in the errors that hostile objects raise, and that no run may show.
export const trapped = 'hostile object used';

/**
 * Fills a schema with what a stranger may create: an overload of every operator and function of pg_catalog, for varchar too
 * where it takes text, and a type and a view of every name. Each warns and raises when it is used: a run may go on after an error, not so a test after a warning. Returns how many operators there are.
 */
export async function fillWithTraps(client: Queryable, schema: string): Promise<number> {
  await client.query(`create schema if not exists ${schema}`);
  await client.query(
    `create function ${schema}.trap() returns boolean language plpgsql as $$ begin raise warning '${trapped}'; raise '${trapped}'; end $$`,
  );
  await client.query(traps.replaceAll('SCHEMA', schema));
  const { rows } = await client.query<{ count: number }>(
    `select count(*)::int as count from pg_catalog.pg_operator where oprnamespace = $1::text::regnamespace`,
    [schema],
  );
  return rows[0]!.count;
}

const traps = `
do $do$
declare
  one record;
  body constant text := $body$ language plpgsql as 'begin raise warning ''${trapped}''; raise ''${trapped}''; end' $body$;
  name text;
begin
  -- Functions and aggregates; of pseudo-types PL/pgSQL takes the polymorphic ones alone.
  for one in
    select p.oid, p.proname, p.pronargs, t.arguments, t.result
      from pg_proc p
      cross join lateral (
        select pg_get_function_identity_arguments(p.oid) as arguments, p.prorettype::regtype::text as result
         union all
        select array_to_string(array(select replace(format_type(a, null), 'text', 'character varying')
                                       from unnest(p.proargtypes) a), ', '), p.prorettype::regtype::text
         where p.provariadic = 0 and 'text'::regtype = any(p.proargtypes)) t
     where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind in ('f', 'a') and not p.proretset
  loop
    begin
      execute format('create function SCHEMA.%I(%s) returns %s %s', one.proname, one.arguments, one.result, body);
    exception when others then null;
    end;
  end loop;

  for one in
    select o.oprname, o.oprresult::regtype as result, l.type as left_type, r.type as right_type
      from pg_operator o
      cross join lateral (select format_type(nullif(o.oprleft, 0), null) as type
                           union all select 'character varying' where o.oprleft = 'text'::regtype) l
      cross join lateral (select format_type(o.oprright, null) as type
                           union all select 'character varying' where o.oprright = 'text'::regtype) r
     where o.oprnamespace = 'pg_catalog'::regnamespace and o.oprresult <> 0
  loop
    begin
      name := 'trap_' || md5(one.oprname || coalesce(one.left_type, '') || '|' || one.right_type);
      execute format('create function SCHEMA.%I(%s) returns %s %s', name, concat_ws(', ', one.left_type, one.right_type), one.result, body);
      execute format('create operator SCHEMA.%s (function = SCHEMA.%I, %s rightarg = %s)', one.oprname, name,
                     'leftarg = ' || one.left_type || ',', one.right_type);
    exception when others then null;
    end;
  end loop;

  for one in
    select typname from pg_type
     where typnamespace = 'pg_catalog'::regnamespace and typtype = 'b' and typelem = 0
  loop
    begin
      execute format('create domain SCHEMA.%I as pg_catalog.%I check (SCHEMA.trap())', one.typname, one.typname);
    exception when others then null;
    end;
  end loop;

  for one in select relname from pg_class where relnamespace = 'pg_catalog'::regnamespace and relkind in ('r', 'v')
  loop
    begin
      execute format('create view SCHEMA.%I as select * from pg_catalog.%I where SCHEMA.trap()', one.relname, one.relname);
    exception when others then null;
    end;
  end loop;
end $do$`;
