import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connect } from '../../src/database/connect.ts';
import { parseDatabaseUri } from '../../src/database/uri.ts';
import { addInstruction, addInstructions, countOf, emptyTables } from '../support/data/due-rows.ts';
import { startFreezingProxy } from '../support/freezing-proxy.ts';
import { recordingLog } from '../support/log.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { blocks, expectNothingLeft, pausing, pidOf } from '../support/postgres/sessions.ts';
import { type Boundaries, type Statement, StatementProxy } from '../support/postgres/statement-proxy.ts';
import { connector, type RunOverrides, run } from '../support/retention.ts';
import { statements } from '../support/statements.ts';

// What a run does at every single statement at which its connection is lost: crashes.test.ts.
const { deleteInstructions } = statements;
const retryPausesMs = [1, 1, 1, 1, 1];

let database: TestDatabase;
let other: Client;

beforeAll(async () => {
  database = await createDatabase({ template: 'no-action' });
});
beforeEach(async () => {
  await emptyTables(database.pool);
  other = await database.client();
});
afterEach(async () => {
  await other.end();
  await expectNothingLeft(database);
});
afterAll(() => database?.drop());

/** A run by way of a proxy, for which the test decides what happens at its statements. */
async function proxiedRun(before: Boundaries['before'], overrides: RunOverrides = {}) {
  const proxy = await StatementProxy.start(database.url, { before });
  try {
    return await run(database, { connect: connector(proxy.through(database.url)), retryPausesMs, ...overrides });
  } finally {
    proxy.stop();
  }
}

async function terminate(pid: number): Promise<void> {
  await database.pool.query('select pg_terminate_backend($1)', [pid]);
}

describe('a connection that is lost and cannot be replaced', () => {
  /** Opens connections, but not those of the attempts that `fails` names, which go to a port that does not answer. */
  async function failingAt(fails: (attempt: number) => boolean, work: (connect: RunOverrides['connect']) => unknown) {
    const dead = await startFreezingProxy({ host: '127.0.0.1', port: 9 });
    dead.freeze();
    const { location } = parseDatabaseUri(database.url, 'the test');
    const servers = [{ host: '127.0.0.1', port: dead.port }];
    const nobody = {
      ...location,
      servers,
      source: 'the test',
      connectTimeoutMs: 20,
      tls: { mode: 'disable' },
    } as const;
    const open = connector(database.url)!;
    let attempts = 0;
    try {
      await work((abandon) => (fails(++attempts) ? connect(nobody, 'retention test', abandon) : open(abandon)));
    } finally {
      dead.stop();
    }
  }

  async function runTerminatedOnce(open: RunOverrides['connect'], overrides: RunOverrides = {}) {
    await addInstructions(database.pool, 5);
    const paused = pausing(open!, deleteInstructions);
    const result = run(database, { connect: paused.connect, retryPausesMs, ...overrides });
    await terminate(await paused.reached);
    paused.resume();
    return result;
  }

  // The first two attempts are the lock's and the run's own first one.
  test('at once, but on a later try, does not fail its operation', async () => {
    await failingAt(
      (attempt) => attempt === 3 || attempt === 4,
      async (open) => {
        expect(await runTerminatedOnce(open)).toMatchObject({
          result: 'Succeeded',
          operations: [{}, { deleted: 5, batches: 1 }, { archived: 1 }, {}],
        });
      },
    );
  });

  test('fails its operation with a sentence, and no later one that can connect', async () => {
    await failingAt(
      (attempt) => attempt === 3 || attempt === 4,
      async (open) => {
        const { result, message, operations } = await runTerminatedOnce(open, { retryPausesMs: [1, 1] });
        expect(result).toBe('Partial');
        expect(operations).toMatchObject([{}, { name: 'instructions', deleted: 0 }, { archived: 1 }, {}]);
        expect(operations[1]?.error).toMatch(/^no answer from 127\.0\.0\.1:\d+ within 0\.02 s/);
        expect(message).toContain(`instructions failed: ${operations[1]?.error}`);
        expect(await countOf(database.pool, 'agentinstruction')).toBe(5);
      },
    );
  });
});

test('a run whose lock is lost in silence notices when it has to connect again, and does not go on', async () => {
  await addInstructions(database.pool, 5);
  let [guard, lost] = [undefined as Statement | undefined, false];
  const result = await proxiedRun((statement) => {
    guard ??= statement;
    if (lost || !deleteInstructions.test(statement.sql)) return;
    lost = true;
    guard.vanish();
    statement.cut();
  });
  expect(result).toMatchObject({ result: 'Partial', rows: 0, operations: [{}, { deleted: 0 }] });
  expect(result.message).toMatch(/the connection that holds the run.s lock was lost/);
  expect(await countOf(database.pool, 'agentinstruction')).toBe(5);
});

test('where it cannot be made sure that the commits of an operation are on disk, the operation says so', async () => {
  await addInstructions(database.pool, 5);
  const result = await proxiedRun(({ sql, cut }) => /pg_logical_emit_message/.test(sql) && cut());
  expect(result).toMatchObject({
    result: 'Partial',
    operations: [
      {},
      { deleted: 5, message: expect.stringMatching(/^what was changed may not be on disk yet: /) },
      { archived: 1 },
      {},
    ],
  });
});

test.each([
  ['before it has changed them', deleteInstructions],
  ['while it is to be committed', /^commit$/],
])('rows that a lost connection still holds on the server, %s, are left and reported', async (_, last) => {
  await addInstructions(database.pool, 5);
  let [deleting, lost] = [false, false];
  const result = await proxiedRun(
    ({ sql, orphan }) => {
      deleting ||= deleteInstructions.test(sql);
      if (lost || !deleting || !last.test(sql)) return;
      lost = true;
      orphan();
    },
    { limits: { lockTimeout: '50ms' } },
  );
  expect(lost).toBe(true);
  expect(result).toMatchObject({ result: 'Partial', operations: [{}, { deleted: 0, skipped: 5 }, {}, {}] });
  expect(await countOf(database.pool, 'agentinstruction')).toBe(5);
  await expectNothingLeft(database);
  expect(await run(database)).toMatchObject({ operations: [{}, { deleted: 5, skipped: 0 }, {}, {}] });
});

describe('a transaction that PostgreSQL rolls back for the sake of another', () => {
  /** While `work` runs, each deletion of an instruction fails so many times before it works; gives the number of attempts. */
  async function conflicts(code: string, times: number, work: () => Promise<void>): Promise<number> {
    await database.pool.query(`
      create sequence attempts;
      create function fail() returns trigger language plpgsql as $$
        begin
          if nextval('attempts') <= ${times} then raise exception 'a conflict' using errcode = '${code}'; end if;
          return null;
        end $$;
      create trigger fail after delete on agentinstruction for each statement execute function fail()`);
    try {
      await work();
      const { rows } = await database.pool.query<{ attempts: number }>(
        'select last_value::int as attempts from attempts',
      );
      return rows[0]!.attempts;
    } finally {
      await database.pool.query('drop function fail() cascade; drop sequence attempts');
    }
  }

  describe.each([
    ['a deadlock', '40P01'],
    ['a serialization failure', '40001'],
  ])('in %s', (_, code) => {
    test('is tried again and succeeds', async () => {
      await addInstructions(database.pool, 5);
      const attempts = await conflicts(code, 5, async () => {
        expect(await run(database, { retryPausesMs })).toMatchObject({
          result: 'Succeeded',
          operations: [{}, { deleted: 5, batches: 1, skipped: 0 }, { archived: 1 }, {}],
        });
      });
      expect(attempts).toBe(6);
      expect(await countOf(database.pool, 'agentinstruction')).toBe(0);
    });

    test('fails its operation with its error when it never succeeds, and no other', async () => {
      await addInstructions(database.pool, 5);
      const attempts = await conflicts(code, 1_000, async () => {
        expect(await run(database, { retryPausesMs })).toMatchObject({
          result: 'Partial',
          message: 'instructions failed: a conflict',
          operations: [{}, { deleted: 0, error: 'a conflict' }, { archived: 1 }, {}],
        });
        expect(await run(database, { retryPausesMs: [], operations: ['instructions'] })).toMatchObject({
          result: 'Failed',
          message: 'instructions failed: a conflict',
        });
      });
      expect(attempts).toBe(6 + 1);
      expect(await countOf(database.pool, 'agentinstruction')).toBe(5);
    });
  });

  test('which is a real deadlock, is tried again once the other is through', async () => {
    const instruction = await addInstruction(database.pool);
    await database.pool.query(`
      create function lock() returns trigger language plpgsql as
        'begin perform pg_advisory_xact_lock(1); return old; end';
      create trigger lock before delete on agentinstruction for each row execute function lock()`);
    const paused = pausing(async (abandon) => {
      const client = await connector(database.url)(abandon);
      await client.query(`set deadlock_timeout to '1ms'`);
      return client;
    }, deleteInstructions);
    try {
      await other.query(`begin; set local deadlock_timeout to '1h'; select pg_advisory_xact_lock(1)`);
      const { log, lines } = recordingLog();
      const result = run(database, { connect: paused.connect, log, limits: { lockTimeout: '1h' }, retryPausesMs });
      const [batch, blocked] = [await paused.reached, await pidOf(other)];
      const update = other.query(`update agentinstruction set priority = 'high' where instruction_id = $1`, [
        instruction,
      ]);
      expect(await blocks(database, batch)).toBe(blocked);
      paused.resume();
      await update;
      await other.query('commit');
      expect(await result).toMatchObject({ result: 'Succeeded', operations: [{}, { deleted: 1 }, {}, {}] });
      expect(lines).toContainEqual({
        level: 'warn',
        message: 'a transaction is tried again',
        details: expect.objectContaining({ error: 'deadlock detected' }),
      });
    } finally {
      await database.pool.query('drop function lock() cascade');
    }
  });
});
