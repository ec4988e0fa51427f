import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { effectiveRetention } from '../../src/api/effective.ts';
import { limitsSchema } from '../../src/api/spec.ts';
import { connect } from '../../src/database/connect.ts';
import type { ConnectionError } from '../../src/database/connection-error.ts';
import { parseDatabaseUri } from '../../src/database/uri.ts';
import { runStatistics } from '../../src/retention/run-statistics.ts';
import { addInstructions, countOf, emptyTables } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { type LogLine, recordingLog } from '../support/log.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { freePort } from '../support/processes.ts';
import { connector, type RunOverrides, run } from '../support/retention.ts';

// A run that comes while the server restarts, or before its name is known, is a run that can still be done.
let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase({ template: 'no-action' });
});
afterAll(() => database?.drop());

const waits = (lines: readonly LogLine[]) =>
  lines.filter(({ message }) => message.startsWith('cannot connect; will keep'));

/** A server that ends each login with this error, as PostgreSQL words it. */
async function refusing(code: string, message: string): Promise<string> {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(fields.length + 4, 1);
  const server = createServer((socket) => {
    socket.on('error', () => {}).once('data', () => socket.end(Buffer.concat([head, fields])));
  });
  return listening(server);
}

/** A server that closes each connection. */
const closing = () => listening(createServer((socket) => socket.on('error', () => {}).resetAndDestroy()));
const mute = () => listening(createServer(() => {}));
const refused = async () => through(`127.0.0.1:${await freePort()}`);

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await eventually('it listens', async () => server.listening);
  onTestFinished(() => void server.close());
  return through(`127.0.0.1:${(server.address() as { port: number }).port}`);
}

function through(host: string): string {
  const url = new URL(database.url);
  url.host = host;
  return url.href;
}

function connectTo(uri: string, timeoutMs = 10_000) {
  const { location } = parseDatabaseUri(uri, 'the test');
  const config = { ...location, source: 'the test', connectTimeoutMs: timeoutMs, tls: { mode: 'disable' } } as const;
  return (abandon?: AbortSignal) => connect(config, 'retention test', abandon);
}

/** Connects to the first place once, and after that to the database. */
function firstTo(uri: string, timeoutMs?: number): RunOverrides['connect'] {
  let attempts = 0;
  return (abandon) => (++attempts === 1 ? connectTo(uri, timeoutMs)(abandon) : connector(database.url)(abandon));
}

describe('a first connection that fails, since', () => {
  const passing: [string, () => Promise<string>, number?][] = [
    ['nothing listens', refused],
    ['its host name is not known yet', async () => through('database.invalid')],
    ['the server is starting up', () => refusing('57P03', 'the database system is starting up')],
    ['the server is shutting down', () => refusing('57P01', 'terminating connection due to administrator command')],
    ['too many connections are open', () => refusing('53300', 'sorry, too many clients already')],
    ['pgbouncer cannot reach it', () => refusing('08P01', 'pgbouncer cannot connect to server')],
    ['pgbouncer has not reached it of late', () => refusing('08P01', 'server login has been failing, try again later')],
    ['the connection is closed', closing],
    ['there is no answer in time', mute, 50],
  ];

  test.each(passing)('%s, is tried again, and the run does what it has to', async (_, place, timeoutMs) => {
    await emptyTables(database.pool);
    await addInstructions(database.pool, 5);
    const { log, lines } = recordingLog();
    const result = await run(database, { log, connect: firstTo(await place(), timeoutMs) });
    expect(result).toMatchObject({ result: 'Succeeded', operations: [{}, { deleted: 5 }, {}, {}] });
    expect(waits(lines)).toHaveLength(1);
    expect(await countOf(database.pool, 'agentinstruction')).toBe(0);
  });

  const lasting: [string, () => Promise<string>][] = [
    ['the password is wrong', async () => database.url.replace(/:[^:@/]+@/, ':wrong@')],
    ['there is no such database', async () => database.url.replace(/\/[^/]*$/, '/nowhere')],
    ['there is no such role', () => refusing('28000', 'role "nobody" does not exist')],
    ['pgbouncer knows no such user', () => refusing('08P01', 'no such user')],
    ['pgbouncer refuses the login', () => refusing('08P01', 'SASL authentication failed')],
    [
      'pgbouncer is refused by the server',
      () =>
        refusing(
          '08P01',
          'server login has been failing, cached error: password authentication failed (server_login_retry)',
        ),
    ],
    ['the role may not connect', () => refusing('42501', 'permission denied for database x')],
    [
      'the database takes no connections',
      () => refusing('55000', 'database "x" is not currently accepting connections'),
    ],
  ];

  test.each(lasting)('%s, ends the run at once', async (_, place) => {
    const { log, lines } = recordingLog();
    expect(await run(database, { log, connect: firstTo(await place()) })).toMatchObject({ result: 'Failed' });
    expect(waits(lines)).toEqual([]);
  });
});

test('a TLS that the server has not, or that cannot be trusted, ends the run at once', async () => {
  const { location } = parseDatabaseUri(database.url, 'the test');
  const config = { ...location, source: 'the test', connectTimeoutMs: 10_000, tls: { mode: 'verify-full' } } as const;
  await expect(connect(config, 'retention test')).rejects.toMatchObject({ mayPass: false });
});

test('a dry run and statistics try again too', async () => {
  expect(await run(database, { dryRun: true, connect: firstTo(await refused()) })).toMatchObject({ result: 'DryRun' });
  const { log, lines } = recordingLog();
  const report = await runStatistics({
    identity: { id: 'test', job: 'stats', trigger: 'CommandLine' },
    retention: effectiveRetention({ preset: 'Development' }),
    schema: 'public',
    timestampTimeZone: 'UTC',
    limits: limitsSchema.parse({}),
    connect: firstTo(await refused())!,
    signal: new AbortController().signal,
    log,
    now: () => new Date(),
  });
  expect(report).toMatchObject({ result: 'Succeeded' });
  expect(waits(lines)).toHaveLength(1);
});

test('a server that never comes ends the run as Failed with the last reason, after the time that is given', async () => {
  const { log, lines } = recordingLog();
  const result = await run(database, { log, connect: connectTo(await refused()), firstConnectionMs: 2_500 });
  expect(result).toMatchObject({ result: 'Failed', message: expect.stringMatching(/^nothing answers at /) });
  expect(waits(lines).length).toBeGreaterThan(0);
});

test.each(['a stop', 'maxDuration'])('%s ends the waiting', async (what) => {
  const { log, lines } = recordingLog();
  const stop = new AbortController();
  const result = run(database, {
    log,
    connect: connectTo(await refused()),
    firstConnectionMs: 3_600_000,
    signal: stop.signal,
    limits: what === 'maxDuration' ? { maxDuration: '1s' } : {},
  });
  await eventually('the run waits', async () => waits(lines).length > 0);
  if (what === 'a stop') stop.abort('SIGTERM received');
  expect(await result).toMatchObject({
    result: 'Partial',
    message: expect.stringMatching(/^stopped: (SIGTERM received|maxDuration 1s .*); nothing answers at /),
  });
});

describe('of several servers', () => {
  const server = () => new URL(database.url).host;

  test('all are tried in each round', async () => {
    const dead = await refused();
    let rounds = 0;
    const both = `${new URL(dead).host},${new URL(await refused()).host}`;
    const working = `${new URL(dead).host},${server()}`;
    const { log, lines } = recordingLog();
    const result = await run(database, {
      log,
      connect: (abandon) => connectTo(severalHosts(++rounds === 1 ? both : working))(abandon),
    });
    expect(result.result).toBe('Succeeded');
    expect(waits(lines)).toMatchObject([
      { details: { error: expect.stringMatching(/nothing answers at .*; nothing/) } },
    ]);
  });

  test('one that refuses the login ends the run at once', async () => {
    const wrong = severalHosts(`${new URL(await refused()).host},${server()}`).replace(/:[^:@/]+@/, ':wrong@');
    const error = await connectTo(wrong)().catch((reason: ConnectionError) => reason);
    expect(error).toMatchObject({ mayPass: false });
  });

  function severalHosts(hosts: string): string {
    return database.url.replace(/@[^/]+/, `@${hosts}`);
  }
});

test('the second connection of a run is as patient as the first', async () => {
  await emptyTables(database.pool);
  await addInstructions(database.pool, 5);
  const full = await refusing('53300', 'remaining connection slots are reserved');
  let attempts = 0;
  const result = await run(database, {
    connect: (abandon) => (++attempts === 2 ? connectTo(full) : connector(database.url))(abandon),
  });
  expect(result).toMatchObject({ result: 'Succeeded', operations: [{}, { deleted: 5 }, {}, {}] });
});
