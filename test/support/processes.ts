import { type ChildProcess, execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, chmodSync, constants, mkdtempSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A user for servers that refuse to run as root; empty when this process is not root. */
export interface Owner {
  uid?: number;
  gid?: number;
}

/** The user that servers run as: `nobody` when this process is root, else this process's own. */
export function serverOwner(): Owner {
  if (process.getuid?.() !== 0) return {};
  const id = (option: string) => Number(execFileSync('id', [option, 'nobody'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** Whether any user can reach `path`: every folder above it may be entered by all. */
export function reachableByAll(path: string): boolean {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** A new temporary folder that the server's owner can enter too. */
export function stateFolder(prefix: string): string {
  const base = process.getuid?.() === 0 && !reachableByAll(join(tmpdir(), 'x')) ? '/tmp' : tmpdir();
  const folder = mkdtempSync(join(base, prefix));
  chmodSync(folder, 0o755);
  return folder;
}

/** The absolute path of a program, looked for in PATH and then in `more` folders. */
export function findProgram(name: string, more: string[] = []): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':').filter(Boolean), ...more];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * A TCP port of 127.0.0.1 that nobody listens on. It is none of those that a system gives to whoever wants just any, or another
 * process could have it before it is used.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 30_000);
    const server = createServer().listen(port, '127.0.0.1');
    const listening = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!listening) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** Sends `signal` and waits for the process to end; SIGKILL after `graceMs`. */
export async function stopProcess(child: ChildProcess, signal: NodeJS.Signals, graceMs = 10_000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  const killer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await exited;
  clearTimeout(killer);
}
