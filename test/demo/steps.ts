const started = Date.now();

/** Minutes and seconds since the demo started. */
function elapsed(): string {
  const seconds = Math.round((Date.now() - started) / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

export function say(line: string): void {
  process.stdout.write(`[${elapsed()}] ${line}\n`);
}

/** Says what is done and, every five seconds, that it is still being done. */
export async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  say(`${what} …`);
  const timer = setInterval(() => say(`${what} … still at it`), 5000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/** Prints a command as typed, and what it said. */
export function show(command: string, output: string): void {
  process.stdout.write(`\n$ ${command}\n${output.trimEnd()}\n`);
}
