import type pg from 'pg';
import { isTimeZoneName } from '../api/time-zone.ts';
import type { ColumnTypes } from './catalog.ts';
import { inWords } from './clock.ts';
import type { Operation } from './operation.ts';
import { tableNames } from './tables.ts';

/** How far what was written by a right clock may be from the database's. */
const tolerance = '5 minutes';

/** What the newest rows are compared with. */
export interface Moment {
  /** The database's clock. */
  instant: string;
  types: ColumnTypes;
  timeZone: string;
}

/** Columns that the application writes with its present time, each with an index, by the operation that looks at them. */
const written = {
  connections: { table: tableNames.connection, column: 'last_heartbeat_at', where: `t.status = 'active' and` },
  instructions: { table: tableNames.instruction, column: 'created_at', where: '' },
  sessions: { table: tableNames.session, column: 'created_at', where: '' },
  acknowledgements: { table: tableNames.acknowledgement, column: 'created_at', where: '' },
} as const;

/**
 * Compares the newest rows of an operation's table with the clock: what is to be said of them, and why the operation must
 * not run where it would close connections that are alive.
 */
export async function lookAtNewestRows(
  client: pg.Client,
  operation: Operation,
  moment: Moment,
): Promise<{ notes: string[]; refusal?: string }> {
  const future = await futureRows(client, operation, moment);
  const notes = future === undefined ? [] : [future];
  const misread = operation.name === 'connections' ? await misreadHeartbeats(client, operation, moment) : undefined;
  if (misread === undefined) return { notes };
  return misread.closesLive ? { notes, refusal: misread.message } : { notes: [...notes, misread.message] };
}

/** A sentence where an operation's table has rows from the future: a clock or the time zone is wrong. */
async function futureRows(
  client: pg.Client,
  { name, table }: Operation,
  { instant, types, timeZone }: Moment,
): Promise<string | undefined> {
  const { column, where, table: plainName } = written[name];
  const zoned = types.get(`${plainName}.${column}`) === 'timestamp with time zone';
  const { rows } = await client.query<{ newest: string }>(
    `select t.${column}::text as newest
       from ${table} t
      where ${where} t.${column} > ($1::timestamptz + interval '${tolerance}')${zoned ? '' : ' at time zone $2'}
        and t.${column} < 'infinity'
      order by t.${column} desc
      limit 1`,
    zoned ? [instant] : [instant, timeZone],
  );
  const newest = rows[0]?.newest;
  if (newest === undefined) return undefined;
  const suspect = zoned
    ? "is the clock of what wrote it right, and the database's?"
    : `is it in spec.database.timestampTimeZone ${timeZone}, and are the clocks right?`;
  return `${plainName} has rows from the future: ${column} ${newest} is after the database's clock (${instant}); ${suspect}`;
}

/** What the heartbeats say of the time zone in which they are read. */
interface Misread {
  message: string;
  /** Whether connections would be closed that are alive. */
  closesLive: boolean;
}

/**
 * Whether active connections are alive in a time zone that the database is set to, and none is in the policy's. Reads
 * nothing where heartbeats have a time zone of their own. Should all agents have stopped that very number of hours ago, to
 * five minutes, they are taken for alive by one run; the next one sees them older.
 */
async function misreadHeartbeats(
  client: pg.Client,
  { table, cutoff }: Operation,
  { instant, types, timeZone }: Moment,
): Promise<Misread | undefined> {
  if (types.get(`${tableNames.connection}.last_heartbeat_at`) === 'timestamp with time zone') return undefined;
  const others = (await zonesOfDatabase(client)).filter((name) => name !== timeZone);
  if (others.length === 0) return undefined;
  const { rows } = await client.query<{ zone: string; age: number; due: string }>(
    `select z.name as zone,
            extract(epoch from $2::timestamptz - max(t.last_heartbeat_at) at time zone $3)::float8 as age,
            count(*) filter (where t.last_heartbeat_at < $4) as due
       from unnest($1::text[]) z (name)
       join ${table} t
         on t.status = 'active'
        and t.last_heartbeat_at >= ($2::timestamptz - interval '${tolerance}') at time zone z.name
        and t.last_heartbeat_at <= ($2::timestamptz + interval '${tolerance}') at time zone z.name
      group by z.name
      order by due desc, zone`,
    [[timeZone, ...others], instant, timeZone, cutoff],
  );
  const [misread] = rows;
  if (misread === undefined || rows.some(({ zone }) => zone === timeZone)) return undefined;
  const { zone, age, due } = misread;
  const apart = `${inWords(Math.abs(age) * 1000)} ${age > 0 ? 'old' : 'from now'}`;
  const facts = `the newest heartbeats of active connections are ${apart} in spec.database.timestampTimeZone ${timeZone}, and of this moment in ${zone}, which the database is set to`;
  const advice = `set timestampTimeZone to ${zone} if they are written in that`;
  if (Number(due) === 0) return { message: `${facts}; ${advice}`, closesLive: false };
  return { message: `${facts}: ${due} live connections would be closed; ${advice}`, closesLive: true };
}

/** The time zones that sessions of this database have by its settings: the run's own, and those set for roles. */
async function zonesOfDatabase(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select s.reset_val as name
       from pg_catalog.pg_settings s
      where s.name = 'TimeZone'
      union
     select substr(c.setting, strpos(c.setting, '=') + 1)
       from pg_catalog.pg_db_role_setting r
      cross join lateral unnest(r.setconfig) c (setting)
      where r.setdatabase in (0, (select d.oid from pg_catalog.pg_database d where d.datname = current_database()))
        and lower(c.setting) like 'timezone=%'`,
  );
  return rows.map(({ name }) => name).filter(isTimeZoneName);
}
