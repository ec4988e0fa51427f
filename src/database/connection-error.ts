import { AuthenticationRefused, PasswordMissing } from './authentication.ts';
import type { DatabaseConfig, Server } from './config.ts';

/** A connection that could not be made; the message says to whom, why, and what to do. */
export class ConnectionError extends Error {
  override name = 'ConnectionError';
  /** True where the same attempt may succeed a minute later: the server is starting, its name not known yet. */
  readonly mayPass: boolean;

  constructor(message: string, { cause, mayPass }: { cause: unknown; mayPass: boolean }) {
    super(message, { cause });
    this.mayPass = mayPass;
  }
}

const untrusted = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_SIGNATURE_FAILURE',
]);

/** What messages say instead of the server's own words, which repeat the user and the database that it was asked for. */
const words: Record<string, string> = {
  '08P01': 'the server or the proxy before it refused the connection',
  42501: 'the user may not connect to the database',
  53300: 'too many connections are open',
  55000: 'the database accepts no connections',
  '57P03': 'the server does not accept connections yet',
  ECONNRESET: 'it closed the connection',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'there is no route to it',
  ENOENT: 'there is no such socket',
};

/** An error for this server of the configuration, with the driver's code as cause, which tells a lost connection. */
export function connectionError(config: DatabaseConfig, server: Server, error: NodeJS.ErrnoException): ConnectionError {
  const code = codeOf(error);
  const cause = Object.assign(new Error(code || 'connecting failed'), { code });
  return new ConnectionError(explain(config, server, error, code), { cause, mayPass: mayPass(error, code) });
}

/** Of PostgreSQL: too few resources, or the server ends or begins. Of the system: names and networks that come. */
const passing =
  /^(53...|57P0[123]|08[^P]..|ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ENOENT)$/;

/** pgbouncer says everything under one code: what is wrong with the login, and that its server does not answer yet. */
function mayPass({ message }: Error, code: string): boolean {
  if (code !== '08P01') return passing.test(code);
  return (
    /cannot connect to server|has been failing|timeout|no more connections|shutting down|crashed/i.test(message) &&
    !/password|authentication/i.test(message)
  );
}

/** The driver's code; its own words for a connection that was lost, or not made in time, carry none. */
function codeOf({ code = '', message }: NodeJS.ErrnoException): string {
  if (/timeout expired/.test(message)) return 'ETIMEDOUT';
  if (/^Connection terminated/.test(message)) return 'ECONNRESET';
  // The code is the server's word too; nothing but a code goes on.
  return /^([0-9A-Z]{5}|E[A-Z_]+|[A-Z]+(_[A-Z0-9]+)+)$/.test(code) ? code : '';
}

/** The names in messages: as they were typed, or for a Secret where they are in it. */
function namesOf({ secret, source, servers, user, database }: DatabaseConfig, server: Server) {
  if (!secret) {
    const at = `${server.host}:${server.port}`;
    return {
      at,
      serverAt: `the server at ${at}`,
      host: server.host,
      user: `user "${user}"`,
      database: ` "${database}"`,
    };
  }
  const which = servers.length === 1 ? 'the server' : `server ${servers.indexOf(server) + 1} of ${servers.length}`;
  const at = `${which} in ${source}`;
  return { at, serverAt: at, host: 'its host', user: 'the user', database: ' of that name' };
}

/** One sentence on why connecting failed, with what to do about it. */
function explain(config: DatabaseConfig, server: Server, error: NodeJS.ErrnoException, code: string): string {
  const { at, serverAt, host, user, database } = namesOf(config, server);
  const { source, secret } = config;
  const said = secret ? '' : ` (${error.message})`;
  const there = secret ? 'there' : `in ${source}`;
  if (error instanceof AuthenticationRefused) {
    const hint = error instanceof PasswordMissing ? `; give one ${there}${secret ? '' : ' or by PGPASSWORD'}` : '';
    return `the login to ${at} was broken off: ${error.message}${hint}`;
  }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    const name = secret ? `of ${at}` : host;
    return `the host name ${name} cannot be resolved; check the host ${there}`;
  }
  if (code === 'ECONNREFUSED')
    return `nothing answers at ${at}; is the server up, and are host and port ${there} right?`;
  if (code === 'ETIMEDOUT') {
    return `no answer from ${at} within ${config.connectTimeoutMs / 1000} s; check host and port ${there}, and network policies`;
  }
  if (code === '28000' && config.tls.mode === 'disable') {
    return `${serverAt} refused ${user} without TLS${said}; if it demands TLS, set the TLS mode to require or stricter (spec.database.tls.mode, or sslmode)`;
  }
  if (code === '28P01' || code === '28000') {
    return `${serverAt} refused the login of ${user}${said}; check user and password ${there}`;
  }
  if (code === '3D000') return `${serverAt} has no database${database}; check the name ${there}`;
  if (/does not support SSL/.test(error.message)) {
    return `${serverAt} offers no TLS; turn it on there, or set the TLS mode to disable (sslmode ${there}, and spec.database.tls.mode where a policy has it) if plain text is intended`;
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the certificate of ${at} is for other names than ${host}; connect by a name it holds, or set the TLS mode to verify-ca`;
  }
  if (untrusted.has(code)) {
    const by = config.tls.ca === undefined ? 'a public CA, and no other was given' : 'the CA that was given';
    return `the certificate of ${at} is not signed by ${by} (${code}); give the CA that signed it (spec.database.tls.caSecretRef, sslrootcert or PGSSLROOTCERT)`;
  }
  if (code === 'CERT_HAS_EXPIRED') return `the certificate of ${at} has expired; renew it on the server`;
  const why = secret ? (words[code] ?? ownWords(config, error.message) ?? 'its log has the reason') : error.message;
  return `connecting to ${at} failed: ${why}${code === '' || why.includes(code) ? '' : ` (${code})`}`;
}

/** What the driver itself says of a login by SCRAM or of TLS, without the certificate that it may repeat. */
function ownWords(config: DatabaseConfig, message: string): string | undefined {
  return /^(SASL|There was an error establishing)/.test(message)
    ? withoutSecrets(config, message.split(' when parsing')[0]!)
    : undefined;
}

/** A server's message without what it repeats of a Secret: user, database, host and password, as whole words. */
export function withoutSecrets(
  { secret, servers, user, database, password = '' }: DatabaseConfig,
  message: string,
): string {
  if (!secret) return message;
  return [user, database, password, ...servers.map(({ host }) => host)]
    .filter((value) => value !== '')
    .reduce((text, value) => {
      const literal = value.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
      const quoted = text.replace(new RegExp(`"${literal.replaceAll('"', '"?"')}"`, 'g'), '"***"');
      // Shorter ones are words of any sentence; PostgreSQL quotes the names that it repeats.
      return value.length < 4 ? quoted : quoted.replace(new RegExp(`(?<!\\w)${literal}(?!\\w)`, 'g'), '***');
    }, message);
}
