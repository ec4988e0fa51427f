import { readFileSync } from 'node:fs';

const everyMs = 50;

/** Watches the kernel's high-water mark of a process's resident memory, until it is stopped or the process has gone. */
export function watchMemory(pid: number | undefined): { stop(): number | undefined } {
  let peak: number | undefined;
  const timer = setInterval(() => {
    peak = highWaterMark(pid) ?? peak;
  }, everyMs);
  return {
    stop() {
      clearInterval(timer);
      return peak;
    },
  };
}

/** Bytes, from /proc; undefined for a process that has gone, and on systems without /proc. */
function highWaterMark(pid: number | undefined): number | undefined {
  try {
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}
