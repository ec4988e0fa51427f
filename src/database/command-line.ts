import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { ConfigurationError, type DatabaseConfig, isSocket, type TlsMode } from './config.ts';
import { parseSslmode, type Said } from './parameters.ts';
import { sessionParameters } from './session-parameters.ts';
import { caOf, type Pem, resolveTls } from './tls.ts';
import { type DatabaseLocation, parseDatabaseUri, parseServers } from './uri.ts';

/** Variables that stand for a URI's parameter where the URI leaves it out. */
const variables: Record<string, string> = {
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  channel_binding: 'PGCHANNELBINDING',
  require_auth: 'PGREQUIREAUTH',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
  options: 'PGOPTIONS',
  connect_timeout: 'PGCONNECT_TIMEOUT',
};

/** What the command line reads of psql's environment. */
export const environmentVariables: readonly string[] = [
  ...['PGHOST', 'PGPORT', 'PGDATABASE', 'PGUSER', 'PGPASSWORD'],
  ...Object.values(variables),
];

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Database configuration of the command line: a URI, or psql's variables. As with psql, password, TLS and the session's
 * parameters come from the variables where a URI leaves them out; `tlsMode`, the policy's, may only be stricter. Throws
 * a ConfigurationError, which shows what a variable says, and of a URI nothing.
 */
export async function configFromCommandLine(
  databaseUrl: string | undefined,
  env: Environment,
  tlsMode?: TlsMode,
): Promise<DatabaseConfig> {
  const source = databaseUrl === undefined ? 'the PG* variables' : '--database-url';
  const { location, parameter } =
    databaseUrl === undefined
      ? { location: locationFromEnvironment(env), parameter: () => undefined }
      : parseDatabaseUri(databaseUrl, source);
  const said = (name: string): Said | undefined => {
    const variable = variables[name]!;
    const value = env[variable];
    return parameter(name) ?? (value ? { value, where: variable, shown: true } : undefined);
  };
  const local = location.servers.every(isSocket);
  const read = async (name: string) => (local ? undefined : readPem(said(name)));
  return {
    ...location,
    source,
    password: location.password ?? (env.PGPASSWORD || undefined),
    ...sessionParameters(said),
    tls: resolveTls({
      servers: location.servers,
      modes: [tlsMode, parseSslmode(said('sslmode'))],
      ca: [await readCa(local ? undefined : said('sslrootcert'))],
      cert: await read('sslcert'),
      key: await read('sslkey'),
    }),
  };
}

/** With psql's defaults: the server of this machine, the user of this process, the database of the user's name. */
function locationFromEnvironment(env: Environment): DatabaseLocation {
  // Each would lead psql to another server than the one that is changed here.
  const unread = ['PGSERVICE', 'PGHOSTADDR'].find((name) => env[name]);
  if (unread !== undefined) {
    throw new ConfigurationError(
      `${unread} is set, and not read here: give --database-url, or unset it and set ${environmentVariables.join(', ')}`,
    );
  }
  const ports = (env.PGPORT ?? '').split(',');
  const where = { host: 'PGHOST', port: 'PGPORT' };
  const [{ port }] = parseServers([''], [ports[0]!], where, true);
  const hosts = (env.PGHOST || localServer(port)).split(',');
  const user = env.PGUSER || processUser();
  return { servers: parseServers(hosts, ports, where, true), database: env.PGDATABASE || user, user };
}

const socketFolders = ['/var/run/postgresql', '/tmp'];

function localServer(port: number): string {
  return socketFolders.find((folder) => existsSync(join(folder, `.s.PGSQL.${port}`))) ?? 'localhost';
}

function processUser(): string {
  try {
    return userInfo().username;
  } catch (cause) {
    throw new ConfigurationError('PGUSER is not set, and the user of this process has no name', { cause });
  }
}

async function readCa(said: Said | undefined): Promise<Pem | undefined> {
  if (said?.value === 'system') return caOf('system', said.where);
  const pem = await readPem(said);
  return pem && caOf(pem.text, pem.where);
}

async function readPem(said: Said | undefined): Promise<Pem | undefined> {
  if (said === undefined) return undefined;
  const text = await readFile(said.value, 'utf8').catch((cause) => {
    throw new ConfigurationError(`${said.where}: the file ${said.value} cannot be read`, { cause });
  });
  return { text, where: `${said.where}: ${said.value}` };
}
