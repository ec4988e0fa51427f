import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import {
  ConfigurationError,
  type DatabaseConfig,
  type DatabaseLocation,
  parseConnectTimeout,
  parseDatabaseUri,
  parsePort,
  refuseSeveralHosts,
  resolveTls,
  type TlsMode,
} from './config.ts';

const defaultConnectTimeoutMs = 10_000;

/** How a policy says where its database is: folders of mounted Secrets, and their names for messages. */
export interface MountedCredentials {
  directory: string;
  secretName: string;
  tlsMode?: TlsMode;
  ca?: { directory: string; secretName: string; key: string };
}

/**
 * Database configuration from a mounted Secret with key `uri`, or with single keys as CloudNativePG, Crunchy and
 * Service Binding write them. A missing Secret (an empty folder) or key is a ConfigurationError that names it.
 */
export async function configFromSecret(mounted: MountedCredentials): Promise<DatabaseConfig> {
  const source = `Secret ${mounted.secretName}`;
  const keys = await readKeys(mounted.directory);
  if (keys.size === 0) {
    throw new ConfigurationError(
      `${source} does not exist or is empty: create it in the policy's namespace with key uri, or with host, port, dbname, user and password`,
    );
  }
  const ca = mounted.ca === undefined ? undefined : await readCa(mounted.ca);
  const uri = keys.get('uri');
  const location = uri === undefined ? locationFromKeys(keys, source) : parseDatabaseUri(uri, `${source}, key uri`);
  return complete(location, source, mounted.tlsMode, ca);
}

async function readKeys(directory: string): Promise<Map<string, string>> {
  const names = await readdir(directory).catch(() => []);
  const keys = new Map<string, string>();
  // A mounted Secret has hidden entries (..data) beside its keys.
  for (const name of names.filter((candidate) => !candidate.startsWith('.'))) {
    keys.set(name, (await readFile(join(directory, name), 'utf8')).replace(/\r?\n$/, ''));
  }
  return keys;
}

/** Whatever its key in the Secret is called, the CA is mounted as ca.crt. */
async function readCa(ca: NonNullable<MountedCredentials['ca']>): Promise<string> {
  const pem = (await readKeys(ca.directory)).get('ca.crt');
  if (pem === undefined) {
    throw new ConfigurationError(
      `Secret ${ca.secretName} (spec.database.tls.caSecretRef) does not exist or has no key ${ca.key}`,
    );
  }
  return certificate(pem, `Secret ${ca.secretName}, key ${ca.key}`);
}

function certificate(pem: string, source: string): string {
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new ConfigurationError(`${source}: no PEM certificate: it must have a line -----BEGIN CERTIFICATE-----`);
  }
  return pem;
}

function locationFromKeys(keys: ReadonlyMap<string, string>, source: string): DatabaseLocation {
  const first = (...names: string[]) => names.map((name) => keys.get(name)).find((value) => value);
  const missing = [
    ['host', first('host')],
    ['dbname (or database)', first('dbname', 'database')],
    ['user (or username)', first('user', 'username')],
    ['password', first('password')],
  ].flatMap(([name, value]) => (value ? [] : [name]));
  if (missing.length > 0) {
    throw new ConfigurationError(
      `${source} has no key uri and lacks ${missing.join(', ')}; it has ${[...keys.keys()].sort().join(', ')}`,
    );
  }
  return {
    host: first('host')!,
    port: parsePort(first('port'), source),
    database: first('dbname', 'database')!,
    user: first('user', 'username')!,
    password: first('password'),
  };
}

/** What the command line reads of psql's environment. */
export const environmentVariables = [
  'PGHOST',
  'PGPORT',
  'PGDATABASE',
  'PGUSER',
  'PGPASSWORD',
  'PGSSLMODE',
  'PGSSLROOTCERT',
  'PGCONNECT_TIMEOUT',
] as const;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Database configuration of the command line: a URI, or psql's variables. As with psql, password, TLS and time limit
 * come from the variables where a URI leaves them out. The CA's file is read only where the TLS mode verifies.
 */
export async function configFromCommandLine(
  databaseUrl: string | undefined,
  env: Environment,
  tlsMode?: TlsMode,
): Promise<DatabaseConfig> {
  const [location, source] =
    databaseUrl === undefined
      ? [locationFromEnvironment(env), 'the PG* variables']
      : [parseDatabaseUri(databaseUrl, '--database-url'), '--database-url'];
  const filled = {
    ...location,
    password: location.password ?? (env.PGPASSWORD || undefined),
    sslmode: location.sslmode ?? (env.PGSSLMODE || undefined),
    connectTimeoutMs:
      location.connectTimeoutMs ?? parseConnectTimeout(env.PGCONNECT_TIMEOUT || undefined, 'PGCONNECT_TIMEOUT'),
  };
  const verifies = [undefined, 'verify-ca', 'verify-full'].includes(tlsMode ?? filled.sslmode);
  const caFile = verifies && !location.host.startsWith('/') && (location.sslrootcert ?? env.PGSSLROOTCERT);
  return complete(filled, source, tlsMode, caFile ? await readCaFile(caFile) : undefined);
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
  refuseSeveralHosts(env.PGHOST ?? '', 'PGHOST');
  const port = parsePort(env.PGPORT || undefined, 'PGPORT');
  const user = env.PGUSER || processUser();
  return { host: env.PGHOST || localServer(port), port, database: env.PGDATABASE || user, user };
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

async function readCaFile(file: string): Promise<string> {
  const pem = await readFile(file, 'utf8').catch((cause) => {
    throw new ConfigurationError(`the CA certificate ${file} cannot be read`, { cause });
  });
  return certificate(pem, file);
}

function complete(location: DatabaseLocation, source: string, mode?: TlsMode, ca?: string): DatabaseConfig {
  return {
    source,
    host: location.host,
    port: location.port,
    database: location.database,
    user: location.user,
    password: location.password,
    connectTimeoutMs: location.connectTimeoutMs ?? defaultConnectTimeoutMs,
    tls: resolveTls(location, source, mode, ca),
  };
}
