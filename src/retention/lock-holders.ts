import type pg from 'pg';

/** So many are named: more would fill the message. */
const mostHolders = 3;

/**
 * Who else has a transaction open that may hold rows of a table, in words for people: a forgotten prepared transaction first,
 * since it never ends by itself. Undefined if nobody does. Any role may ask.
 */
export async function lockHolders(client: pg.Client, table: string): Promise<string | undefined> {
  const { rows } = await client.query<{ holder: string }>(
    `select coalesce(
              case when p.gid is not null
                   then format('prepared transaction %L, open since %s', p.gid,
                               to_char(p.prepared at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) end,
              format('process %s', l.pid) || coalesce(' (' || nullif(a.application_name, '') || ')', '')) as holder
       from pg_locks l
       -- A prepared transaction has no process, and a lock on its own id.
       left join (pg_locks x join pg_prepared_xacts p on p.transaction = x.transactionid)
         on l.pid is null and x.pid is null and x.virtualtransaction = l.virtualtransaction
       left join pg_stat_activity a on a.pid = l.pid
      where l.locktype = 'relation'
        and l.database = (select oid from pg_database where datname = current_database())
        and l.relation in (select $1::regclass union select relid from pg_partition_tree($1::regclass))
        -- What a row's lock or change leaves on its table until the transaction ends.
        and l.mode in ('RowShareLock', 'RowExclusiveLock')
        and l.granted
        and l.pid is distinct from pg_backend_pid()
      group by p.gid, p.prepared, l.pid, a.application_name
      order by p.prepared, l.pid
      limit ${mostHolders}`,
    [table],
  );
  return rows.length === 0 ? undefined : rows.map(({ holder }) => holder).join(', ');
}
