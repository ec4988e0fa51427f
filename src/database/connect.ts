import { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import type { DatabaseConfig } from './config.ts';

/** A connection that could not be made; the message says to whom, why, and what to do. */
class ConnectionError extends Error {
  override name = 'ConnectionError';
}

/**
 * Opens a connection; `applicationName` shows in pg_stat_activity. Only startup parameters that pgbouncer takes.
 * When `abandon` is aborted the socket is destroyed, whatever waits for it: a dead network gives no answer.
 * Throws ConnectionError, whose text holds no credential.
 */
export async function connect(
  config: DatabaseConfig,
  applicationName: string,
  abandon?: AbortSignal,
): Promise<pg.Client> {
  abandon?.throwIfAborted();
  const socket = new Socket();
  const destroy = () => socket.destroy(new Error('the connection was abandoned'));
  abandon?.addEventListener('abort', destroy, { once: true });
  socket.once('close', () => abandon?.removeEventListener('abort', destroy));
  const client = new pg.Client({
    stream: () => socket,
    host: config.host,
    port: config.port,
    database: config.database,
    user: config.user,
    password: config.password,
    connectionTimeoutMillis: config.connectTimeoutMs,
    keepAlive: true,
    application_name: applicationName.slice(0, 63),
    // Given as an object and never by URI: pg drops a configured ssl silently when a URI carries sslmode.
    ssl: tlsOptions(config),
  });
  // Without a listener a connection lost between two statements would end the process.
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (cause) {
    client.end().catch(() => {});
    throw new ConnectionError(explain(config, cause as NodeJS.ErrnoException), { cause });
  }
  return client;
}

function tlsOptions({ tls }: DatabaseConfig): false | ConnectionOptions {
  const ca = tls.ca === undefined ? {} : { ca: tls.ca };
  switch (tls.mode) {
    case 'disable':
      return false;
    case 'require':
      return { rejectUnauthorized: false };
    case 'verify-ca':
      return { ...ca, rejectUnauthorized: true, checkServerIdentity: () => undefined };
    case 'verify-full':
      return { ...ca, rejectUnauthorized: true };
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

/** One sentence on why connecting failed, with what to do about it. */
function explain(config: DatabaseConfig, error: NodeJS.ErrnoException): string {
  const at = `${config.host}:${config.port}`;
  const code = error.code ?? '';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return `the host name ${config.host} cannot be resolved; check the host in ${config.source}`;
  }
  if (code === 'ECONNREFUSED')
    return `nothing answers at ${at}; is the server up, and are host and port in ${config.source} right?`;
  if (code === 'ETIMEDOUT' || /timeout expired/.test(error.message)) {
    return `no answer from ${at} within ${config.connectTimeoutMs / 1000} s; check host and port in ${config.source}, and network policies`;
  }
  if (code === '28000' && config.tls.mode === 'disable') {
    return `the server at ${at} refused user "${config.user}" without TLS (${error.message}); if it demands TLS, set the TLS mode to require or stricter (spec.database.tls.mode, or sslmode)`;
  }
  if (code === '28P01' || code === '28000') {
    return `the server at ${at} refused the login of user "${config.user}" (${error.message}); check user and password in ${config.source}`;
  }
  if (/client password must be a (non-empty )?string/.test(error.message)) {
    return `the server at ${at} asks user "${config.user}" for a password, and ${config.source} has none (by hand: PGPASSWORD)`;
  }
  if (code === '3D000') return `the server at ${at} has no database "${config.database}"; check ${config.source}`;
  if (/does not support SSL/.test(error.message)) {
    return `the server at ${at} offers no TLS; turn it on there, or set the TLS mode to disable (spec.database.tls.mode, or sslmode) if plain text is intended`;
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the certificate of ${at} is for other names than ${config.host}; connect by a name it holds, or set the TLS mode to verify-ca`;
  }
  if (untrusted.has(code)) {
    const by = config.tls.ca === undefined ? 'a public CA, and no other was given' : 'the CA that was given';
    return `the certificate of ${at} is not signed by ${by} (${code}); give the CA that signed it (spec.database.tls.caSecretRef, sslrootcert or PGSSLROOTCERT)`;
  }
  if (code === 'CERT_HAS_EXPIRED') return `the certificate of ${at} has expired; renew it on the server`;
  return `connecting to ${at} failed: ${error.message}${code === '' || error.message.includes(code) ? '' : ` (${code})`}`;
}
