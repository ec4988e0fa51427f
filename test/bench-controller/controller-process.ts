import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { runnerEnvironment } from '../../src/api/run-request.ts';
import type { Connection } from '../../src/kubernetes/connection.ts';
import { watchMemory } from '../bench/memory.ts';
import { runnerImage } from '../support/controller.ts';
import type { BenchCluster } from './cluster.ts';

/** The controller as a process of its own, as the image has it, with its own rights. */
export interface ControllerProcess {
  startedAt: number;
  /** All of its metrics, as text. */
  scrape(): Promise<string>;
  /** A metric's value, or the sum of all its series. */
  metric(name: string): Promise<number>;
  /** Ends it as a kubelet does; its peak memory in bytes. */
  stop(): Promise<number>;
  /** Resolves when it has ended, however. */
  exited: Promise<unknown>;
  /** Kills it. */
  kill(): Promise<void>;
  /** Lines of its log at level warn and above. */
  warnings: string[];
}

interface ControllerSettings {
  /** What it takes for the API server, without TLS and by a kubeconfig; without it the real one, as a Pod reaches it. */
  server?: string;
  /** More flags for Node. */
  nodeFlags?: string[];
  env?: Record<string, string>;
}

/** The API server, and the controller's own rights there. */
interface Access {
  plane: Pick<BenchCluster['plane'], 'server' | 'kubeconfigPath'>;
  connection: Connection;
}

const scrapeEveryMs = 30_000;

export async function startControllerProcess(
  access: Access,
  { server, nodeFlags = [], env = {} }: ControllerSettings = {},
): Promise<ControllerProcess> {
  const cluster =
    server === undefined ? await podEnvironment(access) : { KUBECONFIG: await kubeconfig(access, server) };
  const main = await bundle();
  const startedAt = performance.now();
  // The flags and the compile cache are the image's.
  const flags = ['--max-semi-space-size=2', ...nodeFlags, main, 'controller', '--image', runnerImage, '--port', '0'];
  const child = spawn(process.execPath, flags, {
    env: {
      PATH: process.env.PATH,
      NODE_COMPILE_CACHE: join(folderOf(access), 'compile-cache'),
      LOG_LEVEL: 'info',
      ...cluster,
      ...env,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const memory = watchMemory(child.pid);
  const listening = Promise.withResolvers<number>();
  const warnings: string[] = [];
  createInterface(child.stderr).on('line', (line) => {
    // What is no JSON is Node's own: an unhandled rejection, or a warning.
    const { port, level } = line.startsWith('{') ? JSON.parse(line) : { level: 'error' };
    if (port) listening.resolve(port);
    if (level === 'warn' || level === 'error') warnings.push(line);
  });
  const exited = once(child, 'exit');
  const port = await Promise.race([
    listening.promise,
    exited.then(() => Promise.reject(new Error(`the controller ended: ${warnings.at(-1)}`))),
  ]);
  const scrape = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  // As Prometheus does.
  const scraping = setInterval(() => void scrape().catch(() => {}), scrapeEveryMs);
  void exited.then(() => clearInterval(scraping));
  return {
    startedAt,
    scrape,
    async metric(name) {
      const text = await scrape();
      // A label may hold U+2028, which no dot matches.
      const values = [...text.matchAll(new RegExp(`^${name}(?:{[^\n]*})? (\\S+)$`, 'gm'))].map(([, value]) =>
        Number(value),
      );
      return values.reduce((sum, value) => sum + value, 0);
    },
    async stop() {
      child.kill('SIGTERM');
      await exited;
      return memory.stop() ?? Number.NaN;
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
      memory.stop();
    },
    exited,
    warnings,
  };
}

function folderOf({ plane }: Access): string {
  return dirname(plane.kubeconfigPath);
}

let bundled: Promise<string> | undefined;

/** Makes what the image runs, once: one that is running loads more of it later. Its main file. */
function bundle(): Promise<string> {
  bundled ??= promisify(execFile)(process.execPath, ['build/bundle.ts']).then(() => 'dist/main.js');
  return bundled;
}

async function credentials({ connection }: Access): Promise<{ ca: string; token: string }> {
  const { ca, headers } = await connection.options();
  const [, token] = (headers as Record<string, string>).authorization!.split(' ');
  return { ca: String(ca), token: token! };
}

/** The environment of a Pod, and the files of its service account. */
async function podEnvironment(access: Access): Promise<Record<string, string>> {
  const { ca, token } = await credentials(access);
  const folder = join(folderOf(access), 'serviceaccount');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(folder, 'ca.crt'), ca);
  await writeFile(join(folder, 'token'), token, { mode: 0o600 });
  const { hostname, port } = new URL(access.plane.server);
  return {
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
    [runnerEnvironment.serviceAccountDirectory]: folder,
  };
}

/** A kubeconfig for a server without TLS; its path. */
async function kubeconfig(access: Access, server: string): Promise<string> {
  const { token } = await credentials(access);
  const file = join(folderOf(access), 'controller.kubeconfig');
  const text = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'bench',
    // client-node refuses plain http without it.
    clusters: [{ name: 'bench', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'bench', user: { token } }],
    contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'bench' } }],
  };
  await writeFile(file, JSON.stringify(text), { mode: 0o600 });
  return file;
}
