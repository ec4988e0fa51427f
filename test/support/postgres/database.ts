import { randomBytes } from 'node:crypto';
import { Client, Pool } from 'pg';
import { inject } from 'vitest';
import type { Variant } from './schema.ts';
import { databaseUrl, withClient } from './server.ts';

/** A database of a test file's own. */
export interface TestDatabase {
  name: string;
  /** URI for the superuser. */
  url: string;
  pool: Pool;
  /** A new connection, for tests that need several sessions; closed by `drop`. */
  client(): Promise<Client>;
  /** Closes all connections and removes the database. */
  drop(): Promise<void>;
}

/** Clones the template for a variant, empty agent tables, into a database with a new name. */
export function createDatabase({ template }: { template: Variant }): Promise<TestDatabase> {
  return cloneDatabase(inject('postgres').templates[template]);
}

/** A database whose foreign keys keep rows from being deleted, after some DDL of the test's own. */
export async function databaseWith(ddl: string): Promise<TestDatabase> {
  const database = await createDatabase({ template: 'no-action' });
  await database.pool.query(ddl);
  return database;
}

/** Clones a database that nobody is connected to into one with a new name. */
export async function cloneDatabase(source: string): Promise<TestDatabase> {
  const { adminUrl, prefix } = inject('postgres');
  const name = `${prefix}_${randomBytes(6).toString('hex')}`;
  await withClient(adminUrl, (admin) =>
    admin.query(`create database ${admin.escapeIdentifier(name)} template ${admin.escapeIdentifier(source)}`),
  );
  const url = databaseUrl(adminUrl, name);
  const pool = new Pool({ connectionString: url });
  pool.on('error', ignore);
  const clients: Client[] = [];
  return {
    name,
    url,
    pool,
    async client() {
      const client = new Client({ connectionString: url });
      client.on('error', ignore);
      await client.connect();
      clients.push(client);
      return client;
    },
    async drop() {
      await Promise.allSettled([pool.end(), ...clients.map((client) => client.end())]);
      await withClient(adminUrl, (admin) =>
        admin.query(`drop database if exists ${admin.escapeIdentifier(name)} with (force)`),
      );
    },
  };
}

// A test that kills a session must not fail by the connection's own error event; its queries still reject.
function ignore(): void {}
