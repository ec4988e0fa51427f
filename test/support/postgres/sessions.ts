import type pg from 'pg';
import type { RunOptions } from '../../../src/retention/options.ts';
import { eventually } from '../eventually.ts';
import type { TestDatabase } from './database.ts';

/** The name by which the sessions of test/support/retention.ts's runs show in pg_stat_activity. */
const runSessions = 'retention test';

/** A connector one of whose statements waits for the test. */
export interface Pausing {
  connect: RunOptions['connect'];
  /** The server process that stands before the statement; it is sent after `resume`. */
  reached: Promise<number>;
  resume(): void;
}

/** Wraps a connector: the first statement that matches, on whichever of its connections, is held back until `resume`. */
export function pausing(connect: RunOptions['connect'], statement: Pick<RegExp, 'test'>): Pausing {
  const reached = Promise.withResolvers<number>();
  const resumed = Promise.withResolvers<void>();
  let done = false;
  return {
    reached: reached.promise,
    resume: resumed.resolve,
    async connect(abandon) {
      const client = await connect(abandon);
      const query = client.query.bind(client) as (text: string, values?: unknown[]) => Promise<pg.QueryResult>;
      const held = async (text: string, values?: unknown[]) => {
        if (!done && statement.test(text)) {
          done = true;
          reached.resolve((client as { processID?: number }).processID ?? 0);
          await resumed.promise;
        }
        return query(text, values);
      };
      return Object.assign(client, { query: held });
    },
  };
}

/** The server process of a connection that goes straight to the server. */
export async function pidOf(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return rows[0]!.pid;
}

/** Waits until a process is blocked by `pid`; gives the blocked one. */
export function blocks(database: TestDatabase, pid: number): Promise<number> {
  return eventually(`a process waits for a lock of process ${pid}`, async () => {
    const { rows } = await database.pool.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and $1 = any (pg_blocking_pids(pid))`,
      [pid],
    );
    return rows[0]?.pid;
  });
}

/** The server processes that hold a run's lock in this database. */
export async function runLockHolders(database: Pick<TestDatabase, 'pool'>): Promise<number[]> {
  const { rows } = await database.pool.query<{ pid: number }>(
    `select l.pid
       from pg_locks l
       join pg_database d on d.oid = l.database
      where l.locktype = 'advisory' and l.granted and d.datname = current_database()`,
  );
  return rows.map((row) => row.pid);
}

/** Waits until runs have left no session and no advisory lock behind; fails with what is left. */
export async function expectNothingLeft(database: Pick<TestDatabase, 'pool'>, name = runSessions): Promise<void> {
  let left = '';
  await eventually('runs leave no session and no lock behind', async () => {
    const { rows } = await database.pool.query(
      `select pid, state, wait_event, query from pg_stat_activity
        where datname = current_database() and starts_with(application_name, $1)`,
      [name],
    );
    const holders = await runLockHolders(database);
    left = JSON.stringify({ sessions: rows, holders });
    return rows.length === 0 && holders.length === 0;
  }).catch((cause: unknown) => {
    throw new Error(`left behind: ${left}`, { cause });
  });
}
