import type { Socket } from 'node:net';
import type pg from 'pg';
import { isLostConnection } from './transient-error.ts';

/** How long a silence is taken for work, in milliseconds. */
export interface Silence {
  /** After so long without a byte in an open transaction, the server is asked over another connection what it does; so often the lock's connection is used. */
  askAfterMs: number;
  /** What is answered at once by a server that lives is waited for no longer. */
  answerWithinMs: number;
  /** The server itself rolls back a transaction in which it hears nothing for so long. */
  idleMs: number;
}

/** A connection that a network dropped without a word is noticed within a minute, on both sides. */
export const defaultSilence: Silence = { askAfterMs: 10_000, answerWithinMs: 15_000, idleMs: 45_000 };

/** For how long a connection may be idle before the client's system probes it: ten times, one second apart. */
export const keepAliveAfterMs = 15_000;

/** A transaction as pg_stat_activity shows it. Behind pgbouncer its process serves others once it has ended. */
export interface OpenTransaction {
  pid: number;
  /** When it began, in seconds since 1970. */
  began: string;
}

/**
 * Begins a transaction in which the server, too, notices when the other side has gone without a word. While a statement runs,
 * only client_connection_check_interval has it look whether the network has given up, where the server's system can tell:
 * elsewhere PostgreSQL refuses the setting.
 */
export async function beginWatched(client: pg.Client, begin: string, { idleMs }: Silence): Promise<OpenTransaction> {
  const results: unknown = await client.query(
    `${begin};
     set local tcp_keepalives_idle to 15; set local tcp_keepalives_interval to 5; set local tcp_keepalives_count to 3;
     set local tcp_user_timeout to 30000; set local idle_in_transaction_session_timeout to ${idleMs};
     select pg_catalog.set_config('client_connection_check_interval', '10s', true)
      where pg_catalog.version() operator(pg_catalog.~) '-linux-';
     select pg_catalog.pg_backend_pid() as pid,
            extract(epoch from pg_catalog.transaction_timestamp())::pg_catalog.text as began`,
  );
  // Of several statements at once there are as many results.
  return (results as pg.QueryResult<OpenTransaction>[]).at(-1)!.rows[0]!;
}

/**
 * Asks over another connection whether the server is at work on a transaction's statement. Where it is not, a statement or
 * its answer was lost on the way. Where it does not show (another role's session, track_activities is off), it may be.
 */
async function isAtWork(other: pg.Client, { pid, began }: OpenTransaction): Promise<boolean> {
  const { rows } = await other.query(
    `select from pg_catalog.pg_stat_activity
      where pid operator(pg_catalog.=) $1
        and (coalesce(state, 'disabled') operator(pg_catalog.=) 'disabled'
             or ${isTransaction}
                and state operator(pg_catalog.=) 'active'
                and (wait_event operator(pg_catalog.=) 'ClientWrite') is not true)`,
    [pid, began],
  );
  return rows.length > 0;
}

/** True for what pgbouncer says of itself, such as that it has no room; the server's own sessions say it of the protocol alone. */
function isOfPooler(error: unknown): boolean {
  const { code, cause } = error as { code?: string; cause?: unknown };
  return code === '08P01' || (cause !== undefined && isOfPooler(cause));
}

/** Ends the server's part of a transaction whose client's part has been given up, and with it its locks on rows. */
async function endTransaction(other: pg.Client, { pid, began }: OpenTransaction): Promise<void> {
  await other.query(
    `select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where ${isTransaction}`,
    [pid, began],
  );
}

const isTransaction = `pid operator(pg_catalog.=) $1
  and extract(epoch from xact_start) operator(pg_catalog.=) $2::pg_catalog.numeric`;

/**
 * Watches a connection from which something is awaited. Where nothing comes, and the server, asked twice, is at work on nothing or
 * does not answer, it ends the server's part of the transaction and calls `giveUp`. With no transaction all that is awaited takes no
 * time, unless a pooler has no room: whether another connection is served is asked. Returns what ends the watch.
 */
export function watchTransaction(
  client: pg.Client,
  connect: (abandon: AbortSignal) => Promise<pg.Client>,
  { askAfterMs, answerWithinMs }: Silence,
  transaction: () => OpenTransaction | undefined,
  giveUp: () => void,
): () => void {
  const mayBeAtWork = async () => {
    const signal = AbortSignal.timeout(answerWithinMs);
    let answered = false;
    try {
      const other = await connect(signal);
      answered = true;
      const about = transaction();
      // Of sessions that wait for a pooler the oldest is served first.
      const question = about === undefined ? other.query('select').then(() => false) : isAtWork(other, about);
      return await question.finally(() => other.end());
    } catch (error) {
      // A pooler that has no room lets nobody in, or has no session of the server to spare, while it waits for one at work.
      return isOfPooler(error) || (signal.aborted ? answered : !isLostConnection(error));
    }
  };
  const end = async () => {
    const about = transaction();
    if (about === undefined) return;
    const other = await connect(AbortSignal.timeout(answerWithinMs));
    await endTransaction(other, about).finally(() => other.end());
  };
  return watchForSilence(client, askAfterMs, mayBeAtWork, () => {
    void end()
      .catch(() => {})
      .finally(giveUp);
  });
}

/**
 * Looks whether something comes. When nothing has for a while, `isAtWork` is asked; after two answers of no `giveUp` is called,
 * unless something came meanwhile.
 */
function watchForSilence(
  client: pg.Client,
  everyMs: number,
  isAtWork: () => Promise<boolean>,
  giveUp: () => void,
): () => void {
  const { connection } = client as unknown as { connection: { stream: Socket } };
  let received = connection.stream.bytesRead;
  let [asking, silentFor] = [false, 0];
  const isSilent = () => {
    const before = received;
    received = connection.stream.bytesRead;
    return received === before;
  };
  const look = async () => {
    if (asking) return;
    asking = true;
    // What it has sent may stand behind this in the queue of events, on a machine that is busy.
    const lost = isSilent() && !(await isAtWork()) && isSilent();
    asking = false;
    silentFor = lost ? silentFor + 1 : 0;
    if (silentFor === 2) giveUp();
  };
  const timer = setInterval(() => void look(), everyMs);
  return () => clearInterval(timer);
}
