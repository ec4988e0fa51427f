import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ChildProcesses } from '../child-processes.ts';
import { findProgram, freePort, serverOwner, stateFolder, stopProcess } from '../processes.ts';

/** pgbouncer in front of one database. */
export interface Pgbouncer {
  /** The URI given, but through pgbouncer. */
  url: string;
  stop(): Promise<void>;
}

/**
 * Starts pgbouncer in transaction mode in front of the database of `url`, for the role and password in it. What is not
 * said here or in `settings` is at its default, so that it refuses what it refuses in production. Undefined, with one line that says why,
 * where it is neither installed nor can be.
 */
export async function startPgbouncer(url: string, settings = ''): Promise<Pgbouncer | undefined> {
  const program = findPgbouncer() ?? installPgbouncer();
  if (program === undefined) {
    console.warn(
      'SKIPPED: NO PGBOUNCER TESTS, since pgbouncer is not installed and this is no Debian with root and apt-get',
    );
    return undefined;
  }
  const folder = stateFolder('retention-pgbouncer-');
  const through = new URL(url);
  through.host = `127.0.0.1:${await freePort()}`;
  configure(folder, new URL(url), through.port, settings);
  const children = new ChildProcesses(folder);
  const child = children.spawn(program, [join(folder, 'pgbouncer.ini')], {
    ...serverOwner(),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const log: string[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', () => reject(new Error(`pgbouncer did not start:\n${log.join('\n')}`)));
      createInterface(child.stderr!).on('line', (line) => {
        if (log.length < 50) log.push(line);
        if (line.includes('process up')) resolve();
      });
    });
  } catch (error) {
    await children.close();
    throw error;
  }
  const stop = async () => {
    await stopProcess(child, 'SIGKILL');
    await children.close();
  };
  return { url: through.href, stop };
}

function configure(folder: string, server: URL, port: string, settings: string): void {
  const database = decodeURIComponent(server.pathname.slice(1));
  const users = join(folder, 'users.txt');
  writeFileSync(
    join(folder, 'pgbouncer.ini'),
    `[databases]
${database} = host=${server.hostname} port=${server.port || 5432}
[pgbouncer]
pool_mode = transaction
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
${settings}
`,
  );
  writeFileSync(users, `"${decodeURIComponent(server.username)}" "${decodeURIComponent(server.password)}"\n`, {
    mode: 0o600,
  });
  const { uid, gid } = serverOwner();
  if (uid !== undefined && gid !== undefined) chownSync(users, uid, gid);
}

function findPgbouncer(): string | undefined {
  return findProgram('pgbouncer', ['/usr/sbin']);
}

/** Debian's package, where this process may install it. Its service is not started: the system passes for single-user. */
function installPgbouncer(): string | undefined {
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return undefined;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  try {
    execFileSync('apt-get', ['update', '-qq'], { env, stdio: 'ignore', timeout: 60_000 });
    const install = ['install', '-qq', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=30', 'pgbouncer'];
    execFileSync('apt-get', install, { env, stdio: 'ignore', timeout: 120_000 });
  } catch {
    return undefined; // no network or no rights: the caller says what is left out
  }
  return findPgbouncer();
}
