import { randomBytes } from 'node:crypto';
import type { TestProject } from 'vitest/node';
import { loadSchema, type Variant, variants } from './schema.ts';
import { databaseUrl, type PostgresServer, startPostgres, withClient } from './server.ts';

/** What tests get by `inject('postgres')`. */
export interface PostgresContext {
  adminUrl: string;
  version: string;
  /** Every database that a run makes starts with this, so that runs share a server without meeting. */
  prefix: string;
  templates: Record<Variant, string>;
}

declare module 'vitest' {
  export interface ProvidedContext {
    postgres: PostgresContext;
  }
}

/** Starts the server that the project asks for, with a template database for each form of the schema. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const run = await sharedRun({ ...process.env, ...project.config.env });
  run.users += 1;
  project.provide('postgres', run.context);
  return async () => {
    run.users -= 1;
    if (run.users > 0) return;
    await dropAll(run.context);
    await run.server.stop();
  };
}

interface Run {
  server: PostgresServer;
  context: PostgresContext;
  users: number;
}

// vitest loads this file once per project, so what they share hangs on the process.
const shared = globalThis as { retentionPostgres?: Map<string | undefined, Promise<Run>> };

/** One for all projects that ask for the same server. */
function sharedRun(env: NodeJS.ProcessEnv): Promise<Run> {
  shared.retentionPostgres ??= new Map();
  const run = shared.retentionPostgres.get(env.TEST_POSTGRES) ?? startRun(env);
  shared.retentionPostgres.set(env.TEST_POSTGRES, run);
  return run;
}

async function startRun(env: NodeJS.ProcessEnv): Promise<Run> {
  const server = await startPostgres({ env });
  const prefix = `retention_${randomBytes(4).toString('hex')}`;
  const templates = { cascade: `${prefix}_cascade`, 'no-action': `${prefix}_no_action`, older: `${prefix}_older` };
  for (const variant of variants) await createTemplate(server.adminUrl, templates[variant], variant);
  return { server, context: { adminUrl: server.adminUrl, version: server.version, prefix, templates }, users: 0 };
}

async function createTemplate(adminUrl: string, name: string, variant: Variant): Promise<void> {
  await withClient(adminUrl, (admin) =>
    admin.query(`create database ${admin.escapeIdentifier(name)} template template0`),
  );
  await withClient(databaseUrl(adminUrl, name), (client) => loadSchema(client, variant));
}

async function dropAll({ adminUrl, prefix }: PostgresContext): Promise<void> {
  await withClient(adminUrl, async (admin) => {
    const { rows } = await admin.query<{ datname: string }>(
      'select datname from pg_database where starts_with(datname::text, $1)',
      [prefix],
    );
    for (const { datname } of rows) {
      await admin.query(`drop database if exists ${admin.escapeIdentifier(datname)} with (force)`);
    }
  });
}
