import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { escapeLiteral } from 'pg';
import { Flush } from './flush.ts';
import { beginWatched, defaultSilence, type OpenTransaction, type Silence, watchTransaction } from './silence.ts';
import { isConflict, isLostConnection } from './transient-error.ts';

/** Settings of one transaction; times in milliseconds, 0 for none. */
export interface TransactionSettings {
  lockTimeoutMs: number;
  statementTimeoutMs: number;
  /** Shows in pg_stat_activity behind the connection's own application_name, for as long as the transaction lasts. */
  operation?: string;
  readOnlySnapshot?: boolean;
  /** False where the commit need not wait for the disk: `flush` makes sure of all such commits at once. */
  waitForDisk?: boolean;
  /** Once aborted, nothing is tried again. */
  stop?: AbortSignal;
}

/** A search_path in which a name means what PostgreSQL's own catalog says, whatever strangers have made. */
export const pinnedPath = 'pg_catalog, pg_temp';

/** Pauses before a transaction that met with a conflict or a lost connection is tried again, each 50 to 100 % of this. */
const retryPausesMs = [100, 400, 1_600, 3_200, 6_400];

/** Opens a connection, which is given up, with all that waits for it, when `abandon` is aborted. */
type Connect = (abandon?: AbortSignal) => Promise<pg.Client>;

interface Log {
  warn(fields: object, message: string): void;
}

/**
 * One connection at a time, opened when needed and again after it was lost. Everything is set per transaction
 * (`set local`), which is what survives pgbouncer in transaction mode.
 */
export class Session {
  /**
   * Awaited before a lost connection is replaced, and after a flush with the server that it was on; throws where the work must
   * not go on, or that server is not the one that all of it was on.
   */
  confirmLock: ((server?: string) => Promise<void>) | undefined;
  #connect: Connect;
  #log: Log | undefined;
  #retryPausesMs: readonly number[];
  #silence: Silence;
  #client: pg.Client | undefined;
  /** Aborted when nothing is expected of the connection any more. */
  #abandon = new AbortController();
  #backend: number | undefined;
  #wasConnected = false;

  /** The pauses and the silence are for tests; no pauses mean that nothing is tried again. */
  constructor(
    connect: Connect,
    log?: Log,
    pausesMs: readonly number[] = retryPausesMs,
    silence: Silence = defaultSilence,
  ) {
    this.#connect = connect;
    this.#log = log;
    this.#retryPausesMs = pausesMs;
    this.#silence = silence;
  }

  /**
   * Runs `work` in one transaction; an error rolls it back and is thrown on. After a deadlock, a serialization failure
   * or a lost connection the whole is tried again, so `work` must leave nothing behind but what it returns. Where the
   * connection is lost during the commit, the server is asked what became of it.
   */
  async transaction<T>(settings: TransactionSettings, work: (client: pg.Client) => Promise<T>): Promise<T> {
    for (const [attempt, pauseMs] of [...this.#retryPausesMs, 0].entries()) {
      try {
        return await this.#once(settings, work);
      } catch (error) {
        // A first connection that fails is a matter of configuration more often than not: said at once.
        const again = isConflict(error) || (this.#wasConnected && isLostConnection(error));
        if (!again || attempt === this.#retryPausesMs.length || settings.stop?.aborted) throw error;
        const retryInMs = Math.round(pauseMs * (0.5 + Math.random() / 2));
        this.#log?.warn({ error: (error as Error).message, retryInMs }, 'a transaction is tried again');
        await sleep(retryInMs, undefined, { signal: settings.stop }).catch(() => {});
        if (settings.stop?.aborted) throw error;
      }
    }
    throw new Error('unreachable');
  }

  async #once<T>(settings: TransactionSettings, work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await this.#open();
    let transaction: OpenTransaction | undefined;
    const unwatch = this.#watch(client, () => transaction);
    try {
      transaction = await beginWatched(
        client,
        settings.readOnlySnapshot
          ? 'begin isolation level repeatable read read only'
          : 'begin isolation level read committed',
        this.#silence,
      );
      this.#backend = await configure(client, settings);
      const result = await work(client);
      if (settings.readOnlySnapshot) await client.query('commit');
      // Of a commit that waits it has to be known that it has waited.
      else if (settings.waitForDisk) await client.query('commit');
      else await this.#commit(client, settings.stop);
      return result;
    } catch (error) {
      await client.query('rollback').catch(() => this.#discard(client));
      throw error;
    } finally {
      unwatch();
      this.#backend = undefined;
    }
  }

  /** Watches a connection from which something is awaited; until a transaction is known, only what takes no time. */
  #watch(client: pg.Client, transaction: () => OpenTransaction | undefined): () => void {
    const abandon = this.#abandon;
    return watchTransaction(client, this.#connect, this.#silence, transaction, () => {
      this.#log?.warn({}, 'nothing comes from the server, which is at work on nothing: the connection is given up');
      abandon.abort();
    });
  }

  /** Commits. If the connection is lost before the answer, returns only if the transaction was committed all the same. */
  async #commit(client: pg.Client, stop: AbortSignal | undefined): Promise<void> {
    const { rows } = await client.query<{ xid: string | null }>(
      'select pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text as xid',
    );
    const { xid } = rows[0]!;
    try {
      await client.query('commit');
    } catch (error) {
      if (xid === null || !isLostConnection(error)) throw error;
      this.#discard(client);
      if (!(await this.#wasCommitted(xid, stop))) throw error;
    }
  }

  /** What became of a transaction whose client has gone; the server may be about to notice only now. */
  async #wasCommitted(xid: string, stop: AbortSignal | undefined): Promise<boolean> {
    for (const pauseMs of [0, ...this.#retryPausesMs]) {
      await sleep(pauseMs, undefined, { signal: stop }).catch(() => {});
      if (stop?.aborted) return false;
      try {
        const client = await this.#open();
        const unwatch = this.#watch(client, () => undefined);
        const { rows } = await client
          .query<{ status: string | null }>('select pg_catalog.pg_xact_status($1::pg_catalog.xid8) as status', [xid])
          .finally(unwatch);
        if (rows[0]!.status !== 'in progress') return rows[0]!.status === 'committed';
      } catch (error) {
        if (!isLostConnection(error)) throw error;
      }
    }
    return false;
  }

  /**
   * Returns when everything that was committed before is on disk, and with the synchronous standbys; throws where that is not
   * sure. `confirmLock` tells that the server has not crashed since: the lock is older than all commits.
   */
  async flush(settings: TransactionSettings): Promise<void> {
    const flushed = new Flush(this.#log);
    try {
      await this.transaction({ ...settings, waitForDisk: true }, (client) => flushed.write(client));
    } finally {
      flushed.end();
    }
    flushed.check();
    await this.confirmLock?.(flushed.server);
  }

  /** Cancels the statement that is running in a transaction, if any, over a connection of its own. */
  async cancel(): Promise<void> {
    if (this.#backend === undefined) return;
    const other = await this.#connect();
    try {
      if (this.#backend !== undefined) await other.query('select pg_catalog.pg_cancel_backend($1)', [this.#backend]);
    } finally {
      await other.end();
    }
  }

  async close(): Promise<void> {
    await this.#client?.end().catch(() => {});
    this.#client = undefined;
  }

  async #open(): Promise<pg.Client> {
    if (this.#client !== undefined) return this.#client;
    if (this.#wasConnected) await this.confirmLock?.();
    const abandon = new AbortController();
    const client = await this.#connect(abandon.signal);
    this.#abandon = abandon;
    const discard = () => this.#discard(client);
    client.on('error', discard);
    client.on('end', discard);
    this.#client = client;
    this.#wasConnected = true;
    return client;
  }

  #discard(client: pg.Client): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    client.end().catch(() => {});
  }
}

/** Puts what a look at tables needs back to a run's own, after `asAtLogin`: names mean PostgreSQL's, and no row is hidden. */
export const asOfRun = `set local search_path to ${pinnedPath}; set local row_security to off`;

/**
 * Applies the settings, in one message; returns the server process, which pgbouncer hides from the driver. SET statements, because
 * Citus passes on these alone, and only with its own setting for that; elsewhere its two are names that mean nothing. Until it is
 * done, the statements are under whatever search_path the role has, so all of them are qualified; later ones find only what
 * PostgreSQL itself has made.
 */
async function configure(client: pg.Client, settings: TransactionSettings): Promise<number> {
  const { operation } = settings;
  const statements = [
    `set local citus.propagate_set_commands to 'local'`,
    // A statement on the coordinator's own shards would keep later ones of the transaction from other nodes.
    'set local citus.enable_local_execution to off',
    asOfRun,
    `set local timezone to 'UTC'`,
    `set local datestyle to 'ISO, YMD'`,
    `set local lock_timeout to ${wholeMs(settings.lockTimeoutMs)}`,
    `set local statement_timeout to ${wholeMs(settings.statementTimeoutMs)}`,
    ...(settings.waitForDisk === false ? ['set local synchronous_commit to off'] : []),
    ...(operation === undefined ? [] : [nameOf(operation)]),
    // Unknown before PostgreSQL 17.
    `select pg_catalog.set_config('transaction_timeout', '0', true)
      where pg_catalog.current_setting('transaction_timeout', true) is not null`,
    'select pg_catalog.pg_backend_pid() as pid',
  ];
  const results = (await client.query(statements.join(';\n'))) as unknown as pg.QueryResult<{ pid: number }>[];
  return results.at(-1)!.rows[0]!.pid;
}

/** A time limit as it can stand in SQL. */
function wholeMs(ms: number): number {
  if (!Number.isFinite(ms) || ms < 0) throw new RangeError(`${ms} ms is no time limit`);
  return Math.ceil(ms);
}

/** SQL for the application_name while an operation is at work: 63 bytes at most, of a long policy name the end goes. */
const nameOf = (operation: string) =>
  `select pg_catalog.set_config(
            'application_name',
            pg_catalog.concat(
              pg_catalog.left(pg_catalog.current_setting('application_name'), ${62 - operation.length}),
              ' ', ${escapeLiteral(operation)}),
            true)`;

/**
 * For the rest of the transaction, gives the session what the role has at login: the tables' triggers, checks and generated
 * columns were written for that, not for a run's own settings. Whatever is sent after it must be qualified throughout.
 */
export async function asAtLogin(client: pg.Client): Promise<void> {
  await client.query(
    ['search_path', 'timezone', 'datestyle', 'row_security'].map((name) => `set local ${name} to default`).join('; '),
  );
}
