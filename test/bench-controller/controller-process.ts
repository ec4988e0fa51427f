import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Connection } from '../../src/kubernetes/connection.ts';
import { watchMemory } from '../bench/memory.ts';
import { runnerImage } from '../support/controller.ts';
import type { BenchCluster } from './cluster.ts';

/** The controller as a process of its own, with its own rights. */
export interface ControllerProcess {
  startedAt: number;
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
  /** What it takes for the API server, without TLS; the real one without it. */
  server?: string;
  /** More flags for Node. */
  nodeFlags?: string[];
  env?: Record<string, string>;
}

export async function startControllerProcess(
  { plane, connection }: { plane: Pick<BenchCluster['plane'], 'server' | 'kubeconfigPath'>; connection: Connection },
  { server = plane.server, nodeFlags = [], env = {} }: ControllerSettings = {},
): Promise<ControllerProcess> {
  const { ca, headers } = await connection.options();
  const [, token] = (headers as Record<string, string>).authorization!.split(' ');
  const kubeconfig = join(dirname(plane.kubeconfigPath), 'controller.kubeconfig');
  const data = Buffer.from(String(ca)).toString('base64');
  // client-node refuses plain http without it.
  const trust = server.startsWith('http:')
    ? { 'insecure-skip-tls-verify': true }
    : { 'certificate-authority-data': data };
  const text = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'bench',
    clusters: [{ name: 'bench', cluster: { server, ...trust } }],
    users: [{ name: 'bench', user: { token } }],
    contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'bench' } }],
  };
  await writeFile(kubeconfig, JSON.stringify(text), { mode: 0o600 });
  const startedAt = performance.now();
  const flags = [
    '--max-semi-space-size=2',
    ...nodeFlags,
    'bin/retention.js',
    'controller',
    '--image',
    runnerImage,
    '--port',
    '0',
  ];
  const child = spawn(process.execPath, flags, {
    env: { PATH: process.env.PATH, KUBECONFIG: kubeconfig, LOG_LEVEL: 'info', ...env },
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
  return {
    startedAt,
    async metric(name) {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
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
