import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ChildProcesses } from './child-processes.ts';

const entry = fileURLToPath(new URL('../../bin/retention.js', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));

/** What the program's first line tells Node. */
const nodeFlags = readFileSync(entry, 'utf8')
  .split('\n')[0]!
  .split(' ')
  .filter((word) => word.startsWith('--'));

export interface Ended {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

export interface RetentionProcess {
  pid: number | undefined;
  /** What it has written to standard error so far. */
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  /** Reads no more of its standard output, as `| true` does. */
  closeStdout(): void;
  ended: Promise<Ended>;
}

/** The program as processes of their own, by the very Node that runs the tests; none outlives them. */
export class RetentionProcesses {
  readonly #children = new ChildProcesses();

  /** Starts `retention …` with this environment alone; `input` is its standard input. */
  start(args: string[], env: Record<string, string> = {}, input?: string): RetentionProcess {
    const child = this.#children.spawn(process.execPath, [...nodeFlags, entry, ...args], {
      cwd: root,
      env,
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    child.stdin?.end(input);
    const texts = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]!.setEncoding('utf8').on('data', (text: string) => {
        texts[name] += text;
      });
    }
    return {
      pid: child.pid,
      stderr: () => texts.stderr,
      kill: (signal) => void child.kill(signal),
      closeStdout: () => void child.stdout!.destroy(),
      ended: once(child, 'close').then(([exitCode]) => ({ exitCode, ...texts })),
    };
  }

  /** Runs `retention …` to its end. */
  run(args: string[], env: Record<string, string> = {}, input?: string): Promise<Ended> {
    return this.start(args, env, input).ended;
  }

  close(): Promise<void> {
    return this.#children.close();
  }
}
