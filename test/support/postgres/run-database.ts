import { randomBytes } from 'node:crypto';
import { Pool } from 'pg';
import { presetRetention } from '../../../src/api/effective.ts';
import { grants } from '../../../src/retention/grants.ts';
import { loadSchema } from './schema.ts';
import { databaseUrl, withClient } from './server.ts';
import { startTlsPostgres } from './tls.ts';

const role = 'retention-runs';
/** Looks like nothing else, and every second character has a meaning in a URI, in JSON or in a shell. */
export const runPassword = `pw-${randomBytes(4).toString('hex')}@:/%"$'ä-${randomBytes(4).toString('hex')}`;

/** What a policy's Secret says of its database, key by key. */
export interface Login {
  host: string;
  port: string;
  dbname: string;
  user: string;
  password: string;
}

/** A database of one policy, with empty agent tables. */
export interface RunDatabase {
  /** For the test, as superuser. */
  url: string;
  pool: Pool;
  /** For the runs, as the role that `retention grants` makes, and no more. */
  login: Login;
}

export interface RunServer {
  /** The certificate of the authority that signed the server's; PEM. */
  ca: string;
  createDatabase(): Promise<RunDatabase>;
  stop(): Promise<void>;
}

/** A PostgreSQL with TLS, certified for one host, for the databases of policies. */
export async function startRunServer(host = 'localhost'): Promise<RunServer> {
  const server = await startTlsPostgres(host);
  const pools: Pool[] = [];
  await withClient(server.adminUrl, async (admin) => {
    await admin.query(`create role ${admin.escapeIdentifier(role)} login password ${admin.escapeLiteral(runPassword)}`);
    await admin.query('create database agents template template0');
  });
  await withClient(databaseUrl(server.adminUrl, 'agents'), async (client) => {
    await loadSchema(client, 'no-action');
    await client.query(grants(role, 'public', presetRetention('Development')));
  });
  return {
    ca: server.ca,
    async createDatabase() {
      const dbname = `agents_${randomBytes(4).toString('hex')}`;
      await withClient(server.adminUrl, (admin) => admin.query(`create database ${dbname} template agents`));
      const url = databaseUrl(server.adminUrl, dbname);
      const pool = new Pool({ connectionString: url });
      // The server may be stopped while the pool still says goodbye.
      pool.on('error', () => {});
      pools.push(pool);
      const { port } = new URL(url);
      return { url, pool, login: { host, port, dbname, user: role, password: runPassword } };
    },
    async stop() {
      await Promise.all(pools.map((pool) => pool.end()));
      await server.stop();
    },
  };
}

/** The login as connection URI. */
export function uriOf({ host, port, dbname, user, password }: Login): string {
  return `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}/${dbname}`;
}
