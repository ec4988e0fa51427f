import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';

interface KubectlResult {
  stdout: string;
  stderr: string;
  code: number;
}

/** Runs kubectl; a failure is not an exception but a `code` other than 0. `input` goes to its standard input. */
export type Kubectl = (args: string[], options?: { input?: string }) => Promise<KubectlResult>;

/** kubectl for one kubeconfig; it keeps its cache beside that file, and reads nothing of the user's. */
export function createKubectl(binary: string, kubeconfigPath: string): Kubectl {
  const fixed = [`--kubeconfig=${kubeconfigPath}`, `--cache-dir=${join(dirname(kubeconfigPath), 'kubectl-cache')}`];
  return async (args, { input } = {}) => {
    const env = { PATH: process.env.PATH, KUBECTL_KUBERC: 'false' };
    const child = spawn(binary, [...fixed, ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    // kubectl may end without reading all of its input.
    child.stdin.on('error', () => {}).end(input ?? '');
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    return { stdout, stderr, code: code ?? 1 };
  };
}

/** kubectl whose failure is an exception with its own words; gives what it prints. */
export function strictly(kubectl: Kubectl) {
  return async (args: string[], input?: string): Promise<string> => {
    const { code, stdout, stderr } = await kubectl(args, { input });
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} failed: ${stderr.trim()}`);
    return stdout;
  };
}
