import { readFile } from 'node:fs/promises';
import type { V1Container } from '@kubernetes/client-node';

/** Limits of the kubelet (pkg/kubelet/container/runtime.go). */
const messageBytes = 4096;
const logBytes = 2048;
const logLines = 80;

/** The container's message on its end: what it wrote to its file, or, if its policy says so, the end of its log. */
export async function terminationMessage(
  container: V1Container,
  exitCode: number,
  messageFile: string,
  logFile: string,
): Promise<string | undefined> {
  const message = (await readIfThere(messageFile)).subarray(-messageBytes).toString();
  if (message !== '') return message;
  if (exitCode === 0 || container.terminationMessagePolicy !== 'FallbackToLogsOnError') return undefined;
  const lines = (await readIfThere(logFile)).toString().split(/(?<=\n)/);
  return Buffer.from(lines.slice(-logLines).join('')).subarray(-logBytes).toString() || undefined;
}

/** A container may have removed its file. */
async function readIfThere(path: string): Promise<Buffer> {
  return readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  });
}
