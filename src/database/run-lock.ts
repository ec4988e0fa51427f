import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { serverStart } from './flush.ts';
import { pinnedPath } from './session.ts';
import { beginWatched, defaultSilence, type Silence, watchTransaction } from './silence.ts';

// "reten" in ASCII, shortened to 31 bits: this program's own class of advisory locks.
const lockClass = 0x72657465;
const tryAgainAfterMs = 250;

/** The lock of one run at a time per database and schema. `lost` is aborted when its connection is gone. */
export interface RunLock {
  lost: AbortSignal;
  /**
   * Throws where the lock is lost, after asking: a network or a server that dies in silence tells nothing by itself. Throws too
   * where it is not held on `server`, given by when that has started.
   */
  confirm(server?: string): Promise<void>;
  release(): Promise<void>;
}

/**
 * Takes the advisory lock of an open transaction on a connection of its own, trying for up to `waitMs`; undefined if
 * another run held it for that long. Scoped to a transaction since a session's lock leaks through pgbouncer. Throws
 * when `signal` is aborted. It tries again and again, because a server process that waits for a lock goes on waiting
 * when its client has gone, and holds back vacuum with its snapshot. The connection is used all the time, so that neither
 * side takes the other's silence for life, and no network forgets it.
 */
export async function acquireRunLock(
  connect: (abandon: AbortSignal) => Promise<pg.Client>,
  schema: string,
  waitMs: number,
  signal: AbortSignal,
  silence: Silence = defaultSilence,
): Promise<RunLock | undefined> {
  const deadline = Date.now() + waitMs;
  const abandon = new AbortController();
  const client = await connect(abandon.signal);
  const lost = new AbortController();
  const lose = () => lost.abort('the connection that holds the run’s lock was lost');
  client.on('error', lose);
  client.on('end', lose);
  const answered = async <T>(answer: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => abandon.abort(), silence.answerWithinMs);
    return answer.finally(() => clearTimeout(timer));
  };
  // One after the other, each asked after it was wanted: an older answer says nothing of what happened since.
  let turn: Promise<unknown> = Promise.resolve();
  const confirm = async (server?: string) => {
    const asked = turn.then(() => answered(client.query<{ server: string }>(`select ${serverStart} as server`)));
    turn = asked.catch(lose);
    const own = await asked.then(({ rows }) => rows[0]!.server).catch(() => undefined);
    if (own === undefined || lost.signal.aborted) throw new Error(String(lost.signal.reason));
    if (server !== undefined && server !== own) {
      throw new Error('the connections of the run lead to different servers, or to one that has restarted');
    }
  };
  let heartbeat: NodeJS.Timeout | undefined;
  const release = async () => {
    clearInterval(heartbeat);
    await turn;
    client.off('error', lose).off('end', lose);
    await client.end().catch(() => {});
  };
  try {
    // A stricter default isolation would keep a snapshot for as long as the run lasts, and hold back vacuum.
    const begun = beginWatched(client, 'begin isolation level read committed', silence);
    // pgbouncer may have to wait for one of its connections to the server.
    const none = () => undefined;
    await begun.finally(watchTransaction(client, connect, silence, none, () => abandon.abort()));
    // transaction_timeout is unknown before PostgreSQL 17.
    await answered(
      client.query(
        `set local search_path to ${pinnedPath};
         select pg_catalog.set_config(name, '0', true)
           from pg_catalog.pg_settings
          where name operator(pg_catalog.=) 'transaction_timeout'`,
      ),
    );
    for (;;) {
      signal.throwIfAborted();
      if (await answered(tryLock(client, schema))) {
        // The driver leaves the last parameterised query's portal open, and its snapshot with it, which would hold back
        // vacuum for as long as the run lasts; a simple query closes it.
        await confirm();
        heartbeat = setInterval(() => void confirm().catch(() => {}), silence.askAfterMs);
        return { lost: lost.signal, confirm, release };
      }
      const left = deadline - Date.now();
      if (left <= 0) break;
      await sleep(Math.min(tryAgainAfterMs, left), undefined, { signal });
    }
  } catch (error) {
    await release();
    throw error;
  }
  await release();
  return undefined;
}

async function tryLock(client: pg.Client, schema: string): Promise<boolean> {
  const { rows } = await client.query<{ held: boolean }>(
    'select pg_try_advisory_xact_lock($1::int, hashtext($2)) as held',
    [lockClass, schema],
  );
  return rows[0]!.held;
}
