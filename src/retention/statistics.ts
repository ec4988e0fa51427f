import type pg from 'pg';
import type { EffectiveRetention } from '../api/effective.ts';
import { cutText, type Statistics } from '../api/run-result.ts';
import type { Session } from '../database/session.ts';
import { deletesAcknowledgements } from './acknowledgements.ts';
import { columnTypes } from './catalog.ts';
import { countDue } from './count.ts';
import { operationsAt, readClock } from './cutoff.ts';
import { type Changes, type Operation, rowsOf } from './operation.ts';
import { inboundKeys } from './references.ts';
import { type Tables, tableNames, tablesIn } from './tables.ts';
import { checkTimeZone } from './time-zone.ts';
import { countOne, untakenQueries } from './untaken.ts';

/** The tables under the names that statistics give them. */
const kinds = [
  ['sessions', 'session'],
  ['instructions', 'instruction'],
  ['connections', 'connection'],
  ['acknowledgements', 'acknowledgement'],
] as const;

export interface StatisticsOptions {
  schema: string;
  timestampTimeZone: string;
  retention: EffectiveRetention;
  lockTimeoutMs: number;
  /** Time that one count may take before an estimate stands in for it. */
  countTimeoutMs: number;
  /** When aborted, no other statement begins, and one that was cancelled ends it all with that error. */
  stop: AbortSignal;
}

/** Sizes, ages and rows due, read in one read-only snapshot; works on a standby too. */
export async function collectStatistics(session: Session, options: StatisticsOptions): Promise<Statistics> {
  const settings = {
    lockTimeoutMs: options.lockTimeoutMs,
    statementTimeoutMs: options.countTimeoutMs,
    readOnlySnapshot: true,
  };
  return session.transaction(settings, async (client) => {
    const { stop } = options;
    const tables = tablesIn(options.schema);
    const types = await columnTypes(client, options.schema);
    await checkTimeZone(client, options.timestampTimeZone, types);
    const observedAt = await readClock(client);
    const keys = await inboundKeys(client, tables);
    const scope = { tables, retention: options.retention, instant: observedAt, keys };
    const operations = await operationsAt(client, scope, types, options.timestampTimeZone);
    const statistics: Statistics = {
      observedAt,
      recordCounts: {},
      tableSizes: {},
      totalSizeBytes: 0,
      totalSize: '',
      oldest: {},
      due: {},
      uncovered: {},
      undated: {},
      alreadyArchived: {},
    };
    for (const [kind, table] of kinds) {
      statistics.recordCounts[kind] = await countRows(client, stop, tables[table]);
      const type = types.get(`${tableNames[table]}.created_at`)!;
      statistics.oldest[kind] = await unlessTooLong(client, stop, () =>
        oldest(client, tables[table], type, options.timestampTimeZone),
      );
      const due = await unlessTooLong(client, stop, () => dueRows(client, operations[kind], options.retention));
      statistics.due[kind] = due === undefined ? undefined : rowsOf(due);
      const { undated, alreadyArchived } = untakenQueries(operations[kind]);
      statistics.undated![kind] = undated && (await unlessTooLong(client, stop, () => countOne(client, undated)));
      if (alreadyArchived && (kind === 'sessions' || kind === 'instructions')) {
        statistics.alreadyArchived![kind] = await unlessTooLong(client, stop, () => countOne(client, alreadyArchived));
      }
    }
    await addSizes(client, stop, tables, statistics);
    statistics.uncovered = {
      sessions: await uncovered(client, stop, operations.sessions),
      instructions: await uncovered(client, stop, operations.instructions),
    };
    return statistics;
  });
}

const queryCanceled = '57014';
const dataException = '22';

/** SQL for a table of which $1 is the oid or name, with all partitions and tables that inherit from it, as `tree`. */
const tree = `with recursive tree as (
              select $1::regclass::oid as oid
               union
              select i.inhrelid from pg_inherits i join tree on i.inhparent = tree.oid)`;

/**
 * Runs a query under a savepoint; undefined if it took longer than the transaction's statement timeout, or met a value that it
 * cannot compute with: one row must not cost all other figures.
 */
async function unlessTooLong<T>(client: pg.Client, stop: AbortSignal, query: () => Promise<T>): Promise<T | undefined> {
  stop.throwIfAborted();
  await client.query('savepoint query');
  try {
    return await query();
  } catch (error) {
    const { code = '' } = error as { code?: string };
    if (stop.aborted || !(code === queryCanceled || code.startsWith(dataException))) throw error;
    await client.query('rollback to savepoint query');
    return undefined;
  }
}

/** None where the policy keeps its acknowledgements, as in a run. */
async function dueRows(client: pg.Client, operation: Operation, retention: EffectiveRetention): Promise<Changes> {
  if (operation.name === 'acknowledgements' && !deletesAcknowledgements(retention)) return {};
  return countDue(client, operation);
}

async function countRows(
  client: pg.Client,
  stop: AbortSignal,
  table: string,
): Promise<{ rows: number; estimated?: boolean }> {
  const exact = await unlessTooLong(client, stop, () =>
    client.query<{ count: string }>(`select count(*) as count from ${table}`),
  );
  if (exact !== undefined) return { rows: Number(exact.rows[0]!.count) };
  const { rows } = await client.query<{ estimate: string }>(
    // A partitioned table has the sum of its partitions, where it was analysed at all.
    `${tree}
     select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint as estimate
       from pg_class c
       join tree on tree.oid = c.oid
      where c.relkind <> 'p'`,
    [table],
  );
  return { rows: Number(rows[0]!.estimate), estimated: true };
}

/** Of the rows whose year has four digits: `-infinity` is no time, and a year before Christ or after 9999 none that can be shown. */
async function oldest(client: pg.Client, table: string, type: string, timeZone: string): Promise<string | undefined> {
  const { rows } = await client.query<{ oldest: string | null }>(
    `select to_char(
              case $1::text
                when 'timestamp with time zone' then min(created_at)::timestamptz at time zone 'UTC'
                else min(created_at)::timestamp at time zone $2 at time zone 'UTC'
              end, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as oldest
       from ${table}
      where created_at >= '0001-01-02' and created_at < '9999-12-31'`,
    [type, timeZone],
  );
  return rows[0]!.oldest ?? undefined;
}

async function addSizes(client: pg.Client, stop: AbortSignal, tables: Tables, statistics: Statistics): Promise<void> {
  const { rows } = await client.query<{ citus: boolean }>(
    `select to_regprocedure('citus_total_relation_size(regclass, boolean)') is not null as citus`,
  );
  // What Citus has distributed is on its workers.
  const bytes = rows[0]!.citus
    ? `case when exists (select from pg_dist_partition d where d.logicalrelid = tree.oid)
            then citus_total_relation_size(tree.oid, false)
            else pg_total_relation_size(tree.oid) end`
    : 'pg_total_relation_size(tree.oid)';
  for (const [kind, table] of kinds) {
    const found = await unlessTooLong(client, stop, () =>
      client.query<{ bytes: string; size: string }>(
        `${tree}
         select bytes, pg_size_pretty(bytes) as size
           from (select coalesce(sum(${bytes}), 0)::bigint as bytes from tree) s`,
        [tables[table]],
      ),
    );
    if (found === undefined) continue;
    const { bytes: total, size } = found.rows[0]!;
    statistics.tableSizes[kind] = { bytes: Number(total), size };
    statistics.totalSizeBytes += Number(total);
  }
  const { rows: all } = await client.query<{ size: string }>('select pg_size_pretty($1::bigint) as size', [
    statistics.totalSizeBytes,
  ]);
  statistics.totalSize = all[0]!.size;
}

/** Rows past an operation's age in a status that it does not take: a policy that matches nothing must be seen. */
async function uncovered(client: pg.Client, stop: AbortSignal, { table, untaken }: Operation) {
  const condition = untaken.uncovered;
  if (condition === undefined) return undefined;
  const result = await unlessTooLong(client, stop, () =>
    client.query<{ status: string; rows: string }>(
      `select coalesce(left(t.status, 64), '(null)') as status, count(*) as rows
         from ${table} t
        where ${condition.where}
        group by t.status
        order by count(*) desc, status
        limit 50`,
      [...condition.values],
    ),
  );
  // `kubectl describe` prints it as it is.
  return result?.rows.map(({ status, rows }) => ({ status: cutText(status, 64), rows: Number(rows) }));
}
