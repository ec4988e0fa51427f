import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findBinary, sourcesFromEnvironment } from '../kubernetes/binaries.ts';

/** Runs helm, which reads nothing of the user's; a failure is an exception with helm's own words. */
export async function helm(args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const binary = await findBinary('helm', (line) => console.log(`helm: ${line}`), sourcesFromEnvironment());
  const home = await mkdtemp(join(tmpdir(), 'retention-helm-'));
  try {
    const own = { PATH: process.env.PATH, HOME: home, ...env };
    const { stdout } = await promisify(execFile)(binary, args, { env: own, maxBuffer: 16_000_000 });
    return stdout;
  } finally {
    await rm(home, { recursive: true });
  }
}

export const chart = join(import.meta.dirname, '../../../deploy/chart');
/** Where deploy/base installs, and so where tests do. */
export const namespace = 'retention-system';

/** `helm template` of the chart with these arguments. */
export function template(args: string[] = []): Promise<string> {
  return helm(['template', 'retention', chart, '--namespace', namespace, ...args]);
}
