import { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addInstructions, countOf, emptyTables } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { recordingLog } from '../support/log.ts';
import { startCrashingServer } from '../support/postgres/crashing-server.ts';
import { startPgbouncer } from '../support/postgres/pgbouncer.ts';
import { loadSchema } from '../support/postgres/schema.ts';
import { type LocalServer, withClient } from '../support/postgres/server.ts';
import { intercepting, run } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

// What a run reports as done is on disk, and with the synchronous standbys; where that is not sure, the run says so.
let server: LocalServer;
let pool: Pool;

beforeAll(async () => {
  server = await startCrashingServer();
  await withClient(server.adminUrl, (client) => loadSchema(client, 'no-action'));
  pool = new Pool({ connectionString: server.adminUrl });
  pool.on('error', () => {});
});
beforeEach(async () => {
  await emptyTables(pool);
  await addInstructions(pool, 5);
});
afterAll(async () => {
  await pool?.end();
  await server?.stop();
});

const unsure = /^instructions: what was changed may not be on disk yet: /;

/** Opens connections as a run does; `act` is awaited before the first transaction after the batch's commit. */
function afterTheBatch(url: string, act: () => Promise<void>) {
  let [deleted, committed, acted] = [false, false, false];
  return intercepting(url, async (sql) => {
    deleted ||= statements.deleteInstructions.test(sql);
    if (committed && !acted) {
      acted = true;
      await act();
    }
    committed ||= deleted && sql === 'commit';
    return sql;
  });
}

describe.each(['directly', 'through pgbouncer'])('a server that crashes between a commit and the flush, %s,', (way) => {
  test('makes no run report as done what is due again', async ({ skip }) => {
    const pgbouncer = way === 'directly' ? undefined : await startPgbouncer(server.adminUrl);
    if (way !== 'directly' && pgbouncer === undefined) skip();
    try {
      const url = pgbouncer?.url ?? server.adminUrl;
      const result = await run({ url }, { connect: afterTheBatch(url, () => server.crash()) });
      expect(await countOf(pool, 'agentinstruction')).toBe(5);
      expect(result.result).not.toBe('Succeeded');
      expect(result.operations[1]?.message).toMatch(/may not be on disk/);
    } finally {
      await pgbouncer?.stop();
    }
    expect(await run({ url: server.adminUrl })).toMatchObject({ result: 'Succeeded' });
  });
});

test('a flush on another server than the one that holds the lock says nothing of what was committed', async () => {
  const connect = intercepting(server.adminUrl, (sql) =>
    /pg_logical_emit_message/.test(sql)
      ? sql.replace('pg_catalog.pg_postmaster_start_time()', `timestamptz '2001-01-01'`)
      : sql,
  );
  expect(await run({ url: server.adminUrl }, { connect })).toMatchObject({
    result: 'Partial',
    message: expect.stringMatching(unsure),
  });
});

test('a role that commits without waiting for the disk makes no difference', async () => {
  await pool.query('alter role postgres set synchronous_commit = off');
  try {
    expect(await run({ url: server.adminUrl }, { limits: { vacuum: false } })).toMatchObject({ result: 'Succeeded' });
    await server.crash();
    expect(await countOf(pool, 'agentinstruction')).toBe(0);
  } finally {
    await pool.query('alter role postgres reset synchronous_commit');
  }
});

describe('the wait for a synchronous standby', () => {
  beforeEach(() => standbys('nowhere'));
  afterEach(() => standbys(''));

  async function standbys(names: string): Promise<void> {
    await withClient(server.adminUrl, async (client) => {
      await client.query('set synchronous_commit = local');
      await client.query(`alter system set synchronous_standby_names = '${names}'`);
      await client.query('select pg_reload_conf()');
    });
    await eventually('the server knows', async () => {
      const { rows } = await pool.query<{ names: string }>(
        `select current_setting('synchronous_standby_names') as names`,
      );
      return rows[0]!.names === names;
    });
  }

  const waiting = () =>
    eventually('a commit waits for the standby', async () => {
      const { rows } = await pool.query<{ pid: number }>(
        `select pid from pg_stat_activity where wait_event = 'SyncRep' and starts_with(application_name, 'retention test')`,
      );
      return rows[0]?.pid;
    });

  test.each<[string, (stop: AbortController, pid: number) => unknown, string?]>([
    [
      'by another user, and the role wants no warnings',
      (_, pid) => pool.query('select pg_cancel_backend($1)', [pid]),
      'error',
    ],
    ['by the stop of its run', (stop) => stop.abort('SIGTERM received')],
    ['by another user', (_, pid) => pool.query('select pg_cancel_backend($1)', [pid])],
  ])('that is cancelled %s is not taken for done', async (_, cancel, messages = 'notice') => {
    const stop = new AbortController();
    const options = { operations: ['instructions' as const], signal: stop.signal, cancelAfterMs: 2_000 };
    const url = new URL(server.adminUrl);
    url.searchParams.set('options', `-c client_min_messages=${messages}`);
    const result = run({ url: url.href }, options);
    await cancel(stop, await waiting());
    expect(await result).toMatchObject({ result: 'Partial', operations: [{ deleted: 5 }] });
    expect((await result).message).toMatch(
      /instructions: what was changed may not be on disk yet: .*synchronous_standby_names is "nowhere"/,
    );
  });

  test('that ends with its session begins again', async () => {
    const result = run({ url: server.adminUrl }, { operations: ['instructions'], retryPausesMs: [1, 1] });
    const first = await waiting();
    await pool.query('select pg_terminate_backend($1)', [first]);
    await eventually('another wait', async () => (await waiting()) !== first);
    await standbys('');
    expect(await result).toMatchObject({ result: 'Succeeded', operations: [{ deleted: 5 }] });
  });

  test('is told while it lasts, with whom it is for', async () => {
    const { log, lines } = recordingLog();
    const result = run({ url: server.adminUrl }, { operations: ['instructions'], log });
    const told = () => lines.find(({ message }) => /^waiting for commits to be on disk/.test(message));
    expect(await eventually('the run says so', async () => told())).toMatchObject({
      details: { synchronousStandbyNames: 'nowhere' },
    });
    await standbys('');
    expect(await result).toMatchObject({ result: 'Succeeded' });
  });
});
