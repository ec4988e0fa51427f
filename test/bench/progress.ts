const started = performance.now();

/** Tells people on standard error how far the bench is; standard output is for the report. */
export function say(line: string): void {
  const seconds = Math.round((performance.now() - started) / 1000);
  process.stderr.write(`[${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}] ${line}\n`);
}
