import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ConfigurationError,
  type DatabaseConfig,
  type DatabaseLocation,
  parseDatabaseUri,
  required,
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
    port: port(first('port'), source),
    database: first('dbname', 'database')!,
    user: first('user', 'username')!,
    password: first('password'),
  };
}

function port(value: string | undefined, source: string): number {
  if (value === undefined) return 5432;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1 || number > 65_535) {
    throw new ConfigurationError(`${source}: port must be a number from 1 to 65535 (given: "${value}")`);
  }
  return number;
}

/** Database configuration of the command line: a URI, or the PG* variables that psql knows. */
export async function configFromCommandLine(
  databaseUrl: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  override: { tlsMode?: TlsMode; caFile?: string } = {},
): Promise<DatabaseConfig> {
  const [location, source] =
    databaseUrl === undefined
      ? [locationFromEnvironment(env), 'the PG* variables']
      : [parseDatabaseUri(databaseUrl, '--database-url'), '--database-url'];
  const caFile = override.caFile ?? location.sslrootcert ?? env.PGSSLROOTCERT;
  const ca = caFile === undefined ? undefined : await readCaFile(caFile);
  const sslmode = location.sslmode ?? env.PGSSLMODE;
  return complete({ ...location, sslmode }, source, override.tlsMode, ca);
}

function locationFromEnvironment(env: Readonly<Record<string, string | undefined>>): DatabaseLocation {
  const source = 'no --database-url given, and in the environment';
  return {
    host: required(env.PGHOST, 'PGHOST', source),
    port: port(env.PGPORT, 'PGPORT'),
    database: required(env.PGDATABASE ?? env.PGUSER, 'PGDATABASE', source),
    user: required(env.PGUSER, 'PGUSER', source),
    password: env.PGPASSWORD,
  };
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
