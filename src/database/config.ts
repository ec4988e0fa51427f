import type { tlsModes } from '../api/spec.ts';

export type TlsMode = (typeof tlsModes)[number];

/** Bad input or configuration: exit code 2, and a sentence that says what to correct. */
export class ConfigurationError extends Error {
  override name = 'ConfigurationError';
}

/** Where a database is and as whom to log in; `source` names where that was said, for error messages. */
export interface DatabaseConfig {
  source: string;
  host: string;
  port: number;
  database: string;
  user: string;
  password?: string;
  connectTimeoutMs: number;
  tls: { mode: TlsMode; ca?: string };
}

/** What a connection URI or a set of single values says, before TLS is resolved. */
export interface DatabaseLocation {
  host: string;
  port: number;
  database: string;
  user: string;
  password?: string;
  connectTimeoutMs?: number;
  sslmode?: string;
  sslrootcert?: string;
}

const uriParameters = ['sslmode', 'sslrootcert', 'connect_timeout', 'application_name', 'host'];

/**
 * Parses a `postgresql://` URI; `source` names it in errors, which never contain the URI itself (it has the password).
 * Refuses several hosts and parameters that this program does not apply, instead of ignoring them; application_name
 * alone is accepted and ignored, since providers write it into their URIs and a run's sessions bear the run's own.
 */
export function parseDatabaseUri(uri: string, source: string): DatabaseLocation {
  if (!/^postgres(ql)?:\/\//.test(uri)) {
    throw new ConfigurationError(`${source}: not a PostgreSQL URI: it must start with postgresql:// or postgres://`);
  }
  const [, authority = '', rest = ''] = /^[a-z]+:\/\/([^/?#]*)(.*)$/s.exec(uri)!;
  if (rest.includes('@')) {
    // Most likely the rest of a password: nothing of it may show up as a parameter's name in an error.
    throw new ConfigurationError(
      `${source}: has an @ behind a /, ? or #; percent-encode these characters in user, password and database name`,
    );
  }
  const afterUser = authority.slice(authority.lastIndexOf('@') + 1);
  refuseSeveralHosts(afterUser, source);
  // Without an @ it may be a password, which no error may show.
  if (authority.includes('@')) parsePort(/:([0-9]+)$/.exec(afterUser)?.[1], source);
  const url = parseUrl(uri, source);
  refuseSeveralHosts(url.searchParams.get('host') ?? '', source);
  for (const name of url.searchParams.keys()) {
    if (!uriParameters.includes(name)) {
      throw new ConfigurationError(
        `${source}: URI parameter "${name}" is not supported; supported are ${uriParameters.join(', ')}`,
      );
    }
  }
  const parameter = (name: string) => url.searchParams.get(name) ?? undefined;
  return {
    host: parameter('host') ?? (decode(url.hostname, source).replace(/^\[|\]$/g, '') || 'localhost'),
    port: parsePort(url.port || undefined, source),
    database: decode(url.pathname.slice(1), source) || decode(url.username, source),
    user: required(decode(url.username, source), 'user', source),
    password: url.password === '' ? undefined : decode(url.password, source),
    connectTimeoutMs: parseConnectTimeout(parameter('connect_timeout'), `${source}: connect_timeout`),
    sslmode: parameter('sslmode'),
    sslrootcert: parameter('sslrootcert'),
  };
}

/** A TCP port; 5432 where none is given. */
export function parsePort(value: string | undefined, source: string): number {
  if (value === undefined) return 5432;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1 || number > 65_535) {
    throw new ConfigurationError(`${source}: port must be a number from 1 to 65535 (given: "${value}")`);
  }
  return number;
}

/** Milliseconds of a number of seconds; 0, for ever in psql, is refused, since a run has to end. */
export function parseConnectTimeout(value: string | undefined, name: string): number | undefined {
  if (value === undefined) return undefined;
  if (!/^[1-9][0-9]{0,4}$/.test(value)) {
    throw new ConfigurationError(`${name} must be a number of seconds from 1 to 99999 (given: "${value}")`);
  }
  return Number(value) * 1000;
}

/** Refuses a list of hosts, of which any may turn out to be a standby. */
export function refuseSeveralHosts(host: string, source: string): void {
  if (!host.includes(',')) return;
  throw new ConfigurationError(`${source}: names several hosts; name one (a proxy or the primary's service)`);
}

function parseUrl(uri: string, source: string): URL {
  // An empty host, as beside ?host=/a/socket/folder, is valid here and not in WHATWG's eyes.
  const url = URL.parse(uri.replace(/^([a-z]+:\/\/[^/?#]*@)(?=[:/?#]|$)/, '$1localhost'));
  if (url === null) {
    throw new ConfigurationError(
      `${source}: not a valid URI: expected postgresql://user:password@host:5432/dbname, special characters in the password percent-encoded`,
    );
  }
  return url;
}

function decode(text: string, source: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConfigurationError(
      `${source}: the URI has a percent sign that encodes nothing; write %25 for a percent sign`,
    );
  }
}

function required(value: string | undefined, name: string, source: string): string {
  if (value === undefined || value === '') throw new ConfigurationError(`${source}: ${name} is missing`);
  return value;
}

const sslmodes: readonly TlsMode[] = ['disable', 'require', 'verify-ca', 'verify-full'];

/**
 * Design "TLS": the policy's mode wins, else the URI's sslmode, else verify-full with a CA and require without.
 * A unix socket is never encrypted.
 */
export function resolveTls(
  location: DatabaseLocation,
  source: string,
  mode?: TlsMode,
  ca?: string,
): DatabaseConfig['tls'] {
  if (location.host.startsWith('/')) return { mode: 'disable' };
  const said = mode ?? location.sslmode ?? (ca === undefined ? 'require' : 'verify-full');
  const known = sslmodes.find((candidate) => candidate === said);
  if (known === undefined) {
    throw new ConfigurationError(
      `${source}: sslmode "${said}" is not supported, since it may fall back to plain text unseen; use one of ${sslmodes.join(', ')}`,
    );
  }
  return { mode: known, ...(ca === undefined ? {} : { ca }) };
}
