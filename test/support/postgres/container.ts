import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { PostgresOptions, StartedServer } from './server.ts';

const image = 'postgres:18';

/** Whether a container engine answers, within a second, and has the image. It never pulls: `docker pull postgres:18` does. */
export async function engineWithImage(): Promise<boolean> {
  for (const engine of engines()) {
    if ((await statusOf(engine, `/images/${image}/json`)) === 200) return true;
  }
  return false;
}

/** Starts the image by testcontainers, which removes it when this process is gone. */
export async function startContainer(
  settings: Record<string, string>,
  log: PostgresOptions['log'],
): Promise<StartedServer> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const container = await new GenericContainer(image)
    .withEnvironment({ POSTGRES_PASSWORD: 'test' })
    .withCommand(['postgres', ...flags])
    .withTmpFs({ '/var/lib/postgresql': 'rw' })
    .withExposedPorts(5432)
    // Twice: the image's own set-up starts and stops the server once. No health check: podman never reports it.
    .withWaitStrategy(Wait.forLogMessage(/ready to accept connections/, 2))
    .withLogConsumer((stream) => stream.on('data', (line: Buffer | string) => log?.(String(line).trimEnd())))
    .start();
  return {
    adminUrl: `postgres://postgres:test@${container.getHost()}:${container.getMappedPort(5432)}/postgres`,
    source: `container ${image}`,
    stop: async () => {
      await container.stop();
    },
  };
}

type Engine = { socketPath: string } | { host: string; port: number };

function engines(): Engine[] {
  const named = process.env.DOCKER_HOST;
  if (named?.startsWith('unix://')) return [{ socketPath: named.slice('unix://'.length) }];
  if (named?.startsWith('tcp://')) {
    const url = new URL(named);
    return [{ host: url.hostname, port: Number(url.port || 2375) }];
  }
  const run = process.env.XDG_RUNTIME_DIR ?? `/run/user/${process.getuid?.()}`;
  const home = homedir();
  return ['/var/run/docker.sock', join(run, 'docker.sock'), join(home, '.docker/run/docker.sock')]
    .filter(existsSync)
    .map((socketPath) => ({ socketPath }));
}

/** The HTTP status of a GET; undefined when nobody answers within a second. */
function statusOf(engine: Engine, path: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const call = request({ ...engine, path, timeout: 1000 }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    call.on('timeout', () => call.destroy());
    call.on('error', () => resolve(undefined));
    call.end();
  });
}
