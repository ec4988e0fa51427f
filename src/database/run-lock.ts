import type pg from 'pg';

// "reten" in ASCII, shortened to 31 bits: this program's own class of advisory locks.
const lockClass = 0x72657465;
const lockNotAvailable = '55P03';

/** The lock of one run at a time per database and schema. `lost` is aborted when its connection is gone. */
export interface RunLock {
  lost: AbortSignal;
  release(): Promise<void>;
}

/**
 * Takes the advisory lock of an open transaction on a connection of its own, waiting up to `waitMs`; undefined if
 * another run held it for that long. Scoped to a transaction since a session's lock leaks through pgbouncer.
 */
export async function acquireRunLock(
  connect: () => Promise<pg.Client>,
  schema: string,
  waitMs: number,
  signal: AbortSignal,
): Promise<RunLock | undefined> {
  const client = await connect();
  const lost = new AbortController();
  const lose = () => lost.abort('the connection that holds the run’s lock was lost');
  client.on('error', lose);
  client.on('end', lose);
  const release = async () => {
    client.off('error', lose).off('end', lose);
    await client.end().catch(() => {});
  };
  // Waiting for the lock can take a minute; a run told to stop does not wait.
  const giveUp = () => void release();
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    await client.query('begin');
    await client.query(
      `select set_config('lock_timeout', $1, true),
              set_config('statement_timeout', '0', true),
              set_config('idle_in_transaction_session_timeout', '0', true)`,
      [`${waitMs}ms`],
    );
    await client.query(
      // Unknown before PostgreSQL 17.
      `select set_config(name, '0', true) from pg_settings where name = 'transaction_timeout'`,
    );
    await client.query('select pg_advisory_xact_lock($1::int, hashtext($2))', [lockClass, schema]);
    return { lost: lost.signal, release };
  } catch (error) {
    await release();
    if ((error as { code?: string }).code === lockNotAvailable) return undefined;
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}
