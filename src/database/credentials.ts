import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigurationError, type DatabaseConfig, type TlsMode } from './config.ts';
import { parseSslmode, type Said } from './parameters.ts';
import { sessionParameters } from './session-parameters.ts';
import { caOf, type Pem, resolveTls } from './tls.ts';
import { type DatabaseLocation, parseDatabaseUri, parseServers } from './uri.ts';

/** How a policy says where its database is: folders of mounted Secrets, and their names for messages. */
export interface MountedCredentials {
  directory: string;
  secretName: string;
  tlsMode?: TlsMode;
  ca?: { directory: string; secretName: string; key: string };
}

/**
 * Database configuration from a mounted Secret with key `uri`, or with single keys as CloudNativePG, Crunchy and
 * Service Binding write them. Throws a ConfigurationError, which names the keys that are looked for here, and no value
 * and no other key: whoever reads a policy's status may not read its Secret.
 */
export async function configFromSecret(mounted: MountedCredentials): Promise<DatabaseConfig> {
  const secret = `Secret ${mounted.secretName}`;
  const keys = await readKeys(mounted.directory);
  if (keys.size === 0) {
    throw new ConfigurationError(
      `${secret} does not exist or is empty: create it in the policy's namespace with key uri, or with host, port, dbname, user and password`,
    );
  }
  const own = (name: string): Said | undefined => {
    const value = keys.get(name);
    return value ? { value, where: `${secret}, key ${name}` } : undefined;
  };
  const uri = keys.get('uri');
  const source = uri === undefined ? secret : `${secret}, key uri`;
  const { location, parameter } =
    uri === undefined
      ? { location: locationFromKeys(own, secret), parameter: () => undefined }
      : parseDatabaseUri(uri, source);
  return {
    ...location,
    source,
    secret: true,
    ...sessionParameters((name) => parameter(name) ?? own(name)),
    tls: resolveTls({
      servers: location.servers,
      modes: [mounted.tlsMode, parseSslmode(parameter('sslmode')), parseSslmode(own('sslmode'))],
      ca: [
        ...['ca.crt', 'sslrootcert'].map((name) => pemOf(own(name))),
        systemCa(parameter('sslrootcert'), secret),
        mounted.ca && (await readCa(mounted.ca)),
      ],
      cert: clientPem(own('tls.crt'), parameter('sslcert'), 'tls.crt'),
      key: clientPem(own('tls.key'), parameter('sslkey'), 'tls.key'),
    }),
  };
}

function pemOf(said: Said | undefined): Pem | undefined {
  return said && caOf(said.value, said.where);
}

/** A file that a URI names is not in the Pod. */
function systemCa(said: Said | undefined, secret: string): Pem | undefined {
  if (said === undefined || said.value === 'system') return said && { text: 'system', where: said.where };
  throw new ConfigurationError(
    `${said.where} names a file, which a Pod does not have: put the CA into ${secret}, key ca.crt, or name it in spec.database.tls.caSecretRef`,
  );
}

function clientPem(key: Said | undefined, parameter: Said | undefined, name: string): Pem | undefined {
  if (parameter !== undefined) {
    throw new ConfigurationError(
      `${parameter.where} names a file, which a Pod does not have: put it into the Secret under key ${name}`,
    );
  }
  return key && { text: key.value, where: key.where };
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
async function readCa(ca: NonNullable<MountedCredentials['ca']>): Promise<Pem> {
  const pem = (await readKeys(ca.directory)).get('ca.crt');
  if (pem === undefined) {
    throw new ConfigurationError(
      `Secret ${ca.secretName} (spec.database.tls.caSecretRef) does not exist or has no key ${ca.key}`,
    );
  }
  return caOf(pem, `Secret ${ca.secretName}, key ${ca.key}`);
}

function locationFromKeys(own: (name: string) => Said | undefined, secret: string): DatabaseLocation {
  const first = (...names: string[]) => names.map((name) => own(name)?.value).find((value) => value !== undefined);
  const certified = own('tls.crt') !== undefined;
  const missing = [
    ['host', first('host')],
    ['dbname (or database)', first('dbname', 'database')],
    ['user (or username)', first('user', 'username')],
    ['password', first('password') ?? (certified ? 'none needed' : undefined)],
  ].flatMap(([name, value]) => (value ? [] : [name]));
  if (missing.length > 0) {
    throw new ConfigurationError(
      `${secret} has no key uri and lacks ${missing.join(', ')}; it must have uri, or host, dbname (or database), user (or username) and password`,
    );
  }
  return {
    servers: parseServers(first('host')!.split(','), (first('port') ?? '').split(','), {
      host: `${secret}, key host`,
      port: `${secret}, key port`,
    }),
    database: first('dbname', 'database')!,
    user: first('user', 'username')!,
    password: first('password'),
  };
}
