import pg from 'pg';

/** Settings of one transaction; times in milliseconds, 0 for none. */
export interface TransactionSettings {
  schema: string;
  lockTimeoutMs: number;
  statementTimeoutMs: number;
  /** Shows in pg_stat_activity behind the connection's own application_name, for as long as the transaction lasts. */
  operation?: string;
  readOnlySnapshot?: boolean;
}

/**
 * One connection at a time, opened when needed and again after it was lost. Everything is set per transaction
 * (`set local`), which is what survives pgbouncer in transaction mode.
 */
export class Session {
  #connect: () => Promise<pg.Client>;
  #client: pg.Client | undefined;
  #backend: number | undefined;

  constructor(connect: () => Promise<pg.Client>) {
    this.#connect = connect;
  }

  /** Runs `work` in one transaction; an error rolls it back and is thrown on. */
  async transaction<T>(settings: TransactionSettings, work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await this.#open();
    try {
      await client.query(
        settings.readOnlySnapshot
          ? 'begin isolation level repeatable read read only'
          : 'begin isolation level read committed',
      );
      this.#backend = await configure(client, settings);
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch(() => this.#discard(client));
      throw error;
    } finally {
      this.#backend = undefined;
    }
  }

  /** Cancels the statement that is running in a transaction, if any, over a connection of its own. */
  async cancel(): Promise<void> {
    if (this.#backend === undefined) return;
    const other = await this.#connect();
    try {
      if (this.#backend !== undefined) await other.query('select pg_cancel_backend($1)', [this.#backend]);
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
    const client = await this.#connect();
    const discard = () => this.#discard(client);
    client.on('error', discard);
    client.on('end', discard);
    this.#client = client;
    return client;
  }

  #discard(client: pg.Client): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    client.end().catch(() => {});
  }
}

/** Applies the settings; returns the server process, which pgbouncer hides from the driver. */
async function configure(client: pg.Client, settings: TransactionSettings): Promise<number> {
  const { rows } = await client.query<{ pid: number }>(
    `select pg_backend_pid() as pid,
            set_config('timezone', 'UTC', true),
            set_config('datestyle', 'ISO, YMD', true),
            set_config('row_security', 'off', true),
            set_config('search_path', $1, true),
            set_config('lock_timeout', $2, true),
            set_config('statement_timeout', $3, true),
            set_config('idle_in_transaction_session_timeout', '0', true),
            -- 63 bytes at most: of a long policy name the end goes, not the operation.
            case when $4::text is not null
                 then set_config('application_name',
                                 left(current_setting('application_name'), 62 - length($4)) || ' ' || $4, true) end,
            -- Unknown before PostgreSQL 17.
            case when current_setting('transaction_timeout', true) is not null
                 then set_config('transaction_timeout', '0', true) end`,
    [
      pg.escapeIdentifier(settings.schema),
      `${settings.lockTimeoutMs}ms`,
      `${settings.statementTimeoutMs}ms`,
      settings.operation,
    ],
  );
  return rows[0]!.pid;
}
