import { tlsModes } from '../api/spec.ts';
import { type AuthMethod, authMethods, ConfigurationError, type RequireAuth, type TlsMode } from './config.ts';

/** A value and where it was said, for errors, which show the value only where it was typed by hand and is no secret. */
export interface Said {
  value: string;
  where: string;
  shown?: boolean;
}

/** What a URI may have behind its question mark. */
export const uriParameters = [
  ...['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'channel_binding', 'require_auth', 'target_session_attrs'],
  ...['options', 'connect_timeout', 'application_name', 'host', 'port'],
];

/** libpq's other parameters: words that an error may repeat, since they are no piece of a password. */
export const unsupportedParameters = [
  ...['dbname', 'user', 'password', 'passfile', 'hostaddr', 'service', 'servicefile', 'client_encoding', 'replication'],
  ...['fallback_application_name', 'keepalives', 'keepalives_idle', 'keepalives_interval', 'keepalives_count'],
  ...['tcp_user_timeout', 'gssencmode', 'gsslib', 'gssdelegation', 'krbsrvname', 'requirepeer', 'requiressl'],
  ...['sslnegotiation', 'sslcompression', 'sslpassword', 'sslcertmode', 'sslcrl', 'sslcrldir', 'sslsni', 'ssl'],
  ...['ssl_min_protocol_version', 'ssl_max_protocol_version', 'min_protocol_version', 'max_protocol_version'],
  ...['load_balance_hosts', 'scram_client_key', 'scram_server_key', 'pgbouncer', 'schema', 'sslfactory'],
];

/** A ConfigurationError that says what is allowed. */
function refuse({ value, where, shown }: Said, allowed: string): never {
  throw new ConfigurationError(`${where} must be ${allowed}${shown ? ` (given: "${value}")` : ''}`);
}

/** A TCP port; 5432 where none is given. */
export function parsePort(said: Said | undefined): number {
  if (said === undefined || said.value === '') return 5432;
  const number = /^[0-9]{1,5}$/.test(said.value) ? Number(said.value) : 0;
  return number >= 1 && number <= 65_535 ? number : refuse(said, 'a number from 1 to 65535');
}

/** Milliseconds of a number of seconds; 0, for ever in psql, is refused, since a run has to end. */
export function parseConnectTimeout(said: Said | undefined): number | undefined {
  if (said === undefined) return undefined;
  return /^[1-9][0-9]{0,4}$/.test(said.value)
    ? Number(said.value) * 1000
    : refuse(said, 'a number of seconds from 1 to 99999');
}

/** The modes that fall back to plain text unseen (allow, prefer) are refused. */
export function parseSslmode(said: Said | undefined): TlsMode | undefined {
  return oneOf(said, tlsModes, ', since others may fall back to plain text unseen');
}

export function parseChannelBinding(said: Said | undefined) {
  return oneOf(said, ['disable', 'prefer', 'require'] as const);
}

export function parseTargetSession(said: Said | undefined) {
  return oneOf(said, ['any', 'read-write', 'primary'] as const);
}

function oneOf<T extends string>(said: Said | undefined, allowed: readonly T[], why = ''): T | undefined {
  if (said === undefined) return undefined;
  return allowed.find((word) => word === said.value) ?? refuse(said, `one of ${allowed.join(', ')}${why}`);
}

/** libpq's require_auth: methods that the server may ask for, or each with a `!` those that it may not. */
export function parseRequireAuth(said: Said | undefined): RequireAuth | undefined {
  if (said === undefined) return undefined;
  const words = said.value.split(',').map((word) => word.trim());
  const excluded = words.filter((word) => word.startsWith('!')).map((word) => word.slice(1));
  const known = (word: string) => authMethods.some((method) => method === word);
  const named = excluded.length === 0;
  if (!(named ? words : excluded).every(known) || (!named && excluded.length < words.length)) {
    refuse(said, `a list of ${authMethods.join(', ')}, or of these with a ! before each`);
  }
  return {
    named,
    methods: named ? (words as AuthMethod[]) : authMethods.filter((method) => !excluded.includes(method)),
  };
}

/** Settings that change what no statement means; a run sets its own for its transactions all the same. */
const allowedSettings = [
  ...['search_path', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'work_mem'],
];
/** Read by the proxies of providers, which choose a database by them. */
const proxyOptions = ['endpoint', 'project'];

/** Options of the server at startup, as they are; refuses all but a few harmless ones (not row_security, for one). */
export function parseOptions(said: Said | undefined): string | undefined {
  if (said === undefined || said.value.trim() === '') return undefined;
  const words = said.value
    .trim()
    .replace(/(^|\s)-c\s+/g, '$1-c')
    .split(/\s+/);
  for (const word of words) {
    // No backslash: it decides whether a space behind it ends a value.
    const setting = /^(?:-c|--)([A-Za-z_-]+)=[^\\]*$/.exec(word)?.[1]?.toLowerCase().replaceAll('-', '_');
    const proxy = /^([a-z]+)=[A-Za-z0-9.-]+$/.exec(word)?.[1];
    if (!allowedSettings.includes(setting ?? '') && !proxyOptions.includes(proxy ?? '')) {
      refuse(said, `-c with ${allowedSettings.join(', ')}, or a provider's ${proxyOptions.join('=… or ')}=…`);
    }
  }
  return said.value.trim();
}
