import type pg from 'pg';

const tellAfterMs = 5_000;

interface Log {
  warn(fields: object, message: string): void;
}

/** One transaction whose commit waits for the disk and for the synchronous standbys, and for all commits before it. */
export class Flush {
  readonly #log: Log | undefined;
  #client: pg.Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #standbys = '';
  #cancelled = false;
  /** The server that it was on, by when it started. */
  server = '';

  constructor(log: Log | undefined) {
    this.#log = log;
  }

  /** What the transaction does before its commit; once more where it is tried again. */
  async write(client: pg.Client): Promise<void> {
    this.end();
    this.#cancelled = false;
    // A commit waits for the disk only if it wrote to the log itself, and if the role is not set to wait for nothing.
    const { rows } = await client.query<{ server: string; standbys: string }>(
      `select pg_catalog.pg_logical_emit_message(true, 'retention', ''),
              case when pg_catalog.current_setting('synchronous_commit') operator(pg_catalog.=) 'off'
                   then pg_catalog.set_config('synchronous_commit', 'local', true) end,
              -- The warning of a wait that was cancelled must come.
              pg_catalog.set_config('client_min_messages', 'warning', true),
              ${serverStart} as server,
              pg_catalog.current_setting('synchronous_standby_names') as standbys`,
    );
    this.server = rows[0]!.server;
    this.#standbys = rows[0]!.standbys;
    this.#client = client.on('notice', this.#notice);
    const waiting = { synchronousStandbyNames: this.#standbys };
    this.#timer = setTimeout(
      () => this.#log?.warn(waiting, 'waiting for commits to be on disk and with the synchronous standbys'),
      tellAfterMs,
    );
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#client?.off('notice', this.#notice);
  }

  /** Throws where PostgreSQL has reported success although a wait for a standby was cancelled. */
  check(): void {
    if (!this.#cancelled) return;
    throw new Error(
      `the wait for a synchronous standby was cancelled (synchronous_standby_names is "${this.#standbys}")`,
    );
  }

  /** The routine's name, since the words may be translated. */
  readonly #notice = ({ routine }: { routine?: string | undefined }) => {
    this.#cancelled ||= routine === 'SyncRepWaitForLSN';
  };
}

/** SQL for when the server started, as text: no other has started in the same microsecond. */
export const serverStart = 'extract(epoch from pg_catalog.pg_postmaster_start_time())::pg_catalog.text';
