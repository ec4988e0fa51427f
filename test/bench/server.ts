import type { Client } from 'pg';
import { createCluster, databaseUrl, startCluster, versionOf, withClient } from '../support/postgres/server.ts';
import { say } from './progress.ts';

/** Durable as in production, and large enough that no checkpoint for want of room falls into a run. */
const settings = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: '1GB',
  max_wal_size: '8GB',
};

/** The settings that a report names. */
const namedSettings = [
  ...Object.keys(settings),
  'checkpoint_timeout',
  'wal_level',
  'wal_compression',
  'work_mem',
  'random_page_cost',
  'autovacuum',
  'max_parallel_workers_per_gather',
];

/** A server of the bench's own, with one template per kind of data. */
export interface BenchServer {
  version: string;
  source: string;
  /** What the settings that matter say, by name. */
  settings: Record<string, string>;
  /** The template of this name, which is kept; filled when it is asked for the first time. */
  template(name: string, fill: (client: Client) => Promise<unknown>): Promise<string>;
  /**
   * A new copy of a template, in which `prepare` may change something. Then all is written to disk and the server
   * started anew: no buffers, no dirty pages, no statistics of earlier rounds.
   */
  clone(template: string, prepare?: (client: Client) => Promise<unknown>): Promise<string>;
  drop(url: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startBenchServer(): Promise<BenchServer> {
  const cluster = await createCluster(process.env.TEST_POSTGRES);
  const { adminUrl, source, restart, stop } = await startCluster(cluster, settings);
  const asAdmin = (work: (admin: Client) => Promise<unknown>) => withClient(adminUrl, work);
  const templates = new Set<string>();
  let clones = 0;
  return {
    version: await versionOf(adminUrl),
    source,
    settings: await withClient(adminUrl, readSettings),
    stop,
    async template(name, fill) {
      if (templates.has(name)) return name;
      say(`filling the template ${name}`);
      await asAdmin((admin) => admin.query(`create database ${admin.escapeIdentifier(name)} template template0`));
      await withClient(databaseUrl(adminUrl, name), async (client) => {
        await fill(client);
        await client.query('vacuum analyze');
        await client.query('checkpoint');
      });
      templates.add(name);
      return name;
    },
    async clone(template, prepare) {
      clones += 1;
      const name = `bench_${clones}`;
      const url = databaseUrl(adminUrl, name);
      await asAdmin((admin) =>
        admin.query(`create database ${name} template ${admin.escapeIdentifier(template)} strategy file_copy`),
      );
      if (prepare !== undefined) await withClient(url, prepare);
      await asAdmin((admin) => admin.query('checkpoint'));
      await restart();
      return url;
    },
    async drop(url) {
      const name = new URL(url).pathname.slice(1);
      await asAdmin((admin) => admin.query(`drop database ${admin.escapeIdentifier(name)} with (force)`));
    },
  };
}

async function readSettings(client: Client): Promise<Record<string, string>> {
  const { rows } = await client.query<{ name: string; setting: string }>(
    `select name, current_setting(name) as setting from pg_settings where name = any($1) order by name`,
    [namedSettings],
  );
  return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
}
