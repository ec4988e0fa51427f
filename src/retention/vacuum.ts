import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { escapeIdentifier } from 'pg';
import type { Session, TransactionSettings } from '../database/session.ts';
import type { RunOptions } from './options.ts';
import type { Stop } from './stop.ts';

const vacuumTimeoutMs = 600_000;
const cancelEveryMs = 1_000;
/** What has not answered the cancelling for this long never will: its connection is given up. */
const abandonAfterMs = 10_000;

/** A table, qualified and quoted, and how many of its rows a run changed or deleted. */
export interface ChangedTable {
  table: string;
  rows: number;
}

/** What is to be said of the vacuum, and the dead rows left by table. */
export interface Aftermath {
  notes: string[];
  deadRows: Map<string, number>;
}

type Options = Pick<RunOptions, 'connect' | 'limits' | 'log' | 'vacuumTimeoutMs'>;

/**
 * Vacuums the tables of which a run changed a lot, so that autovacuum is not left with it. Where the role may not, or
 * the vacuum fails, is cancelled by its own time-out (ten minutes a table) or by `stop`, that is a note; nothing is
 * thrown.
 */
export async function vacuumAfter(
  changed: readonly ChangedTable[],
  options: Options,
  session: Session,
  settings: TransactionSettings,
  stop: Stop,
): Promise<Aftermath> {
  const notes: string[] = [];
  const deadRows = new Map<string, number>();
  const tables = changed.filter(({ rows }) => rows > 0).map(({ table }) => table);
  const now = () => session.transaction(settings, (client) => stateOf(client, tables));
  try {
    if (tables.length === 0 || stop.signal.aborted) return { notes, deadRows };
    const large = (await now()).filter((each) => isLarge(changed, each));
    const publish = () => session.transaction(settings, (client) => publishStatistics(client, large.length > 0));
    await publish();
    if (options.limits.vacuum) {
      const forbidden = large.filter((each) => !each.allowed);
      if (forbidden.length > 0) notes.push(missingRight(forbidden));
      for (const { table } of large.filter((each) => each.allowed)) {
        if (stop.signal.aborted) break;
        const obstacle = await vacuum(table, options, stop);
        if (obstacle === undefined) options.log.info({ table }, 'vacuumed');
        else notes.push(`vacuum of ${table}: ${obstacle}`);
      }
    }
    if (stop.signal.aborted) return { notes, deadRows };
    await publish();
    for (const { table, dead } of await now()) deadRows.set(table, Number(dead));
  } catch (error) {
    // All that the run was asked for has been done by now.
    notes.push(`the tables were not vacuumed, or their dead rows not counted: ${(error as Error).message}`);
  }
  return { notes, deadRows };
}

interface TableState {
  table: string;
  /** As estimated when the table was last vacuumed or analysed. */
  rows: string;
  dead: string;
  allowed: boolean;
  maintain: boolean;
}

/**
 * More than autovacuum's own measure (50 rows plus 20 % of the table) is a large pass. So are 100,000 rows: of a table of millions,
 * autovacuum would let many runs' dead rows pile up before it comes.
 */
function isLarge(changed: readonly ChangedTable[], { table, rows }: TableState): boolean {
  const mine = changed.find((each) => each.table === table)?.rows ?? 0;
  return mine > Math.min(50 + Number(rows) / 5, 100_000);
}

async function stateOf(client: pg.Client, tables: readonly string[]): Promise<TableState[]> {
  const { rows } = await client.query<TableState>(
    `select t.name as "table",
            s.rows,
            s.dead,
            pg_has_role(c.relowner, 'usage')
              or pg_has_role(d.datdba, 'usage')
              or case when v.maintain then has_table_privilege(c.oid, 'MAINTAIN') else false end as allowed,
            v.maintain
       from unnest($1::text[]) t (name)
       join pg_class c on c.oid = t.name::regclass
       join pg_database d on d.datname = current_database()
      cross join (select current_setting('server_version_num')::int >= 170000 as maintain) v
      cross join lateral
            (select coalesce(sum(greatest(p.reltuples, 0)), 0) as rows,
                    coalesce(sum(pg_stat_get_dead_tuples(p.oid)), 0) as dead
               from pg_class p
              where p.relkind = 'r'
                and (p.oid = c.oid or p.oid in (select relid from pg_partition_tree(c.oid)))) s`,
    [tables],
  );
  return rows;
}

/**
 * A session keeps its newest counts to itself for a while, ten seconds at most. Before PostgreSQL 15 nothing hurries it:
 * it sends them when half a second has passed since it last did, and others see them half a second later at most. That is
 * waited for after a large pass alone; after a small one the dead rows may be too few there.
 */
async function publishStatistics(client: pg.Client, large: boolean): Promise<void> {
  const { rows } = await client.query<{ known: boolean }>(
    `select to_regprocedure('pg_stat_force_next_flush()') is not null as known`,
  );
  if (rows[0]!.known) await client.query('select pg_stat_force_next_flush()');
  else if (large) await client.query('select pg_sleep(0.6)');
}

function missingRight(states: readonly TableState[]): string {
  const tables = states.map(({ table }) => table);
  const { maintain } = states[0]!;
  const remedy = maintain
    ? `grant maintain on ${tables.join(', ')} to the run's role`
    : `before PostgreSQL 17 only the owner of ${tables.join(', ')} has it`;
  return `not vacuumed after a large pass, for want of the right (${remedy}; or set limits.vacuum to false)`;
}

/** The statement that lets a role vacuum tables, without semicolon; PostgreSQL 17 or later. */
export function grantOfVacuum(tables: readonly string[], role: string): string {
  return `grant maintain on ${tables.join(', ')} to ${escapeIdentifier(role)}`;
}

/** Vacuums one table on a connection of its own; says why where it did not. */
async function vacuum(table: string, options: Options, stop: Stop): Promise<string | undefined> {
  const timeoutMs = options.vacuumTimeoutMs ?? vacuumTimeoutMs;
  const end = AbortSignal.any([stop.signal, AbortSignal.timeout(timeoutMs)]);
  const abandon = AbortSignal.any([stop.abandon, AbortSignal.timeout(timeoutMs + abandonAfterMs)]);
  const tag = `/* retention vacuum ${randomUUID()} */`;
  let cancelling: NodeJS.Timeout | undefined;
  const cancel = () => void cancelTagged(tag, options, abandon).catch(() => {});
  const onEnd = () => {
    cancel();
    cancelling = setInterval(cancel, cancelEveryMs);
  };
  try {
    const client = await options.connect(abandon);
    const warnings: string[] = [];
    // What the role's client_min_messages asks for beside warnings has no error's code.
    client.on('notice', ({ code, message }) => void (code === '00000' || warnings.push(message ?? '')));
    const pooled = !(await unlimit(client));
    end.addEventListener('abort', onEnd, { once: true });
    try {
      end.throwIfAborted();
      // truncate off: no moment of an access exclusive lock. skip_locked: who holds the table is not waited for, and
      // autovacuum at work on it does the same. parallel 0: no processes that others may need. Not analyze: that is
      // autovacuum's after every tenth row, and no dead rows pile up without it.
      await client.query(`${tag} vacuum (truncate off, skip_locked, parallel 0) ${table}`);
      return warnings.length === 0 ? undefined : warnings.join('; ');
    } catch (error) {
      const cancelled = (error as { code?: string }).code === '57014' && !end.aborted;
      throw cancelled ? new Error(`${(error as Error).message}: ${cancelledBy(pooled)}`, { cause: error }) : error;
    } finally {
      await client.end().catch(() => {});
    }
  } catch (error) {
    if (stop.signal.aborted) return stop.note;
    return end.aborted ? `it took longer than ${timeoutMs / 1000} s` : (error as Error).message;
  } finally {
    end.removeEventListener('abort', onEnd);
    clearInterval(cancelling);
  }
}

/**
 * Takes away what the role or the database sets that would end a vacuum or its warnings: a vacuum has a time-out of its own. False,
 * with nothing done, behind a pooler, where a session's setting would stay with whoever has that session next.
 */
async function unlimit(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ pid: number }>('select pg_catalog.pg_backend_pid() as pid');
  // A pooler gives its own clients numbers of its own.
  if (rows[0]!.pid !== (client as { processID?: number }).processID) return false;
  await client.query(
    `select pg_catalog.set_config(name, case name when 'client_min_messages' then 'warning' else '0' end, false)
       from pg_catalog.pg_settings
      where name operator(pg_catalog.=) any (array['statement_timeout', 'lock_timeout', 'transaction_timeout',
                                                   'client_min_messages']::pg_catalog.text[])`,
  );
  return true;
}

function cancelledBy(pooled: boolean): string {
  const another = 'another user or process cancelled it (pg_cancel_backend)';
  return pooled
    ? `the role's statement_timeout is too short for it, which cannot be changed through a pooler (\`alter role … set statement_timeout = 0\`, or set limits.vacuum to false), or ${another}`
    : another;
}

/**
 * Cancels the statement that begins with `tag`. A statement_timeout cannot end a vacuum: `set local` needs a
 * transaction, which vacuum refuses, and a session's own setting would stay behind in pgbouncer.
 */
async function cancelTagged(tag: string, options: Options, abandon: AbortSignal): Promise<void> {
  const client = await options.connect(abandon);
  try {
    await client.query(
      `select pg_catalog.pg_cancel_backend(pid)
         from pg_catalog.pg_stat_activity
        where state operator(pg_catalog.=) 'active' and pg_catalog.starts_with(query, $1)`,
      [tag],
    );
  } finally {
    await client.end();
  }
}
