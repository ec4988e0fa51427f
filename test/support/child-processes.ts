import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';

// Reads "watch PID" and "forget PID" lines. When its standard input ends, however the parent ended, it kills the
// process groups that are left and removes the folder.
const watchdogScript = `
trap '' HUP INT TERM
groups=
while read -r verb pid; do
  case $verb in
    watch) groups="$groups $pid" ;;
    forget)
      kept=
      for group in $groups; do [ "$group" = "$pid" ] || kept="$kept $group"; done
      groups=$kept ;;
  esac
done
for group in $groups; do kill -9 "-$group" 2>/dev/null; done
[ -z "$1" ] && exit
# Processes that are dying may write once more.
for attempt in 1 2 3 4 5; do rm -rf "$1" 2>/dev/null && break; sleep 0.2; done
`;

/**
 * Child processes that never outlive this one, not even when it is killed: each leads a process group of its own, and a
 * small shell, which sees the end of a pipe, kills the groups when this process is gone. Ctrl-C on a terminal does not
 * reach the children; they end when their parent says so or is gone.
 */
export class ChildProcesses {
  readonly #watchdog: ChildProcess;
  readonly #commands: Writable;

  /** `folder` holds the state of the children and is removed after them. */
  constructor(folder = '') {
    this.#watchdog = spawn('/bin/sh', ['-c', watchdogScript, 'watchdog', folder], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.#watchdog.unref();
    this.#commands = this.#watchdog.stdin!;
    (this.#commands as Writable & { unref?: () => void }).unref?.();
  }

  /** Starts a child. It has started when this returns, or will emit `error`, as with node's own `spawn`. */
  spawn(command: string, args: string[], options: Omit<SpawnOptions, 'detached'> = {}): ChildProcess {
    const child = spawn(command, args, { ...options, detached: true });
    const pid = child.pid;
    if (pid !== undefined) {
      this.#commands.write(`watch ${pid}\n`);
      child.once('exit', () => {
        killGroup(pid);
        this.#commands.write(`forget ${pid}\n`);
      });
    }
    return child;
  }

  /** Kills every child that is left, and all that these started, and removes the folder. */
  async close(): Promise<void> {
    if (this.#watchdog.exitCode !== null) return;
    this.#watchdog.ref();
    this.#commands.end();
    await once(this.#watchdog, 'exit');
  }
}

/** Kills a child of `ChildProcesses` and everything it started, and waits for its end. */
export async function killChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  killGroup(child.pid);
  await once(child, 'exit');
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing is left of the group.
  }
}
