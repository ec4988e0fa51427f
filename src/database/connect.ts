import type { EventEmitter } from 'node:events';
import { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { guardLogin } from './authentication.ts';
import { ConfigurationError, type DatabaseConfig, isSocket, type Server } from './config.ts';
import { ConnectionError, connectionError, withoutSecrets } from './connection-error.ts';
import { keepAliveAfterMs } from './silence.ts';
import { trustedCas } from './tls.ts';
import { isLostConnection } from './transient-error.ts';

/**
 * Opens a connection to the first server that answers and is what target_session_attrs asks for; `applicationName` shows
 * in pg_stat_activity. When `abandon` is aborted the socket is destroyed, whatever waits for it: a dead network gives no
 * answer. Throws ConnectionError, whose text and cause hold no credential, and of a Secret nothing at all.
 */
export async function connect(
  config: DatabaseConfig,
  applicationName: string,
  abandon?: AbortSignal,
): Promise<pg.Client> {
  refuseUnsafe(config);
  const failures: ConnectionError[] = [];
  for (const server of config.servers) {
    abandon?.throwIfAborted();
    try {
      return await connectTo(config, server, applicationName, abandon);
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      failures.push(error);
      // A refused login or certificate is no reason to show the password to another server.
      if (!(error instanceof WrongServer) && !isUnreachable(error)) break;
    }
  }
  if (failures.length === 1) throw failures[0]!;
  const { cause } = failures.find((failure) => isLostConnection(failure)) ?? failures[0]!;
  // Where the last one was reached, all were tried: a standby among several may be about to become the primary.
  const { mayPass } = failures.at(-1)!;
  throw new ConnectionError(failures.map(({ message }) => message).join('; '), { cause, mayPass });
}

/** Throws ConfigurationError for what the driver would pass on although it means something else. */
function refuseUnsafe({
  source,
  user,
  database,
  password,
  options,
  channelBinding,
  servers,
  tls,
}: DatabaseConfig): void {
  // In the startup message a NUL ends a value, and what follows is another parameter.
  if ([user, database, password, options].some((value) => value?.includes('\0'))) {
    throw new ConfigurationError(`${source}: user, password, database and options must not contain a NUL character`);
  }
  if (channelBinding === 'require' && tls.mode === 'disable' && !servers.every(isSocket)) {
    throw new ConfigurationError(
      `${source}: channel_binding=require needs TLS, which is disabled: leave one of them out`,
    );
  }
}

const goodbyeWithinMs = 5_000;

/** The driver waits for the server to close the connection too, which a network that drops all never lets it. */
class Client extends pg.Client {
  readonly #socket: Socket;

  constructor(config: pg.ClientConfig, socket: Socket) {
    super(config);
    this.#socket = socket;
  }

  override async end(): Promise<void> {
    const timer = setTimeout(() => this.#socket.destroy(), goodbyeWithinMs);
    await super.end().finally(() => clearTimeout(timer));
  }
}

/** A server that answers, and is not the primary that was asked for. */
class WrongServer extends ConnectionError {}

function isUnreachable(error: ConnectionError): boolean {
  return isLostConnection(error) || (error.cause as { code?: string }).code === 'ENOTFOUND';
}

async function connectTo(
  config: DatabaseConfig,
  server: Server,
  applicationName: string,
  abandon: AbortSignal | undefined,
): Promise<pg.Client> {
  const socket = new Socket();
  const destroy = () =>
    socket.destroy(Object.assign(new Error('no answer, so the connection was given up'), { code: 'ETIMEDOUT' }));
  abandon?.addEventListener('abort', destroy, { once: true });
  socket.once('close', () => abandon?.removeEventListener('abort', destroy));
  const ssl = isSocket(server) ? false : tlsOptions(config);
  const settings = {
    stream: () => socket,
    host: server.host,
    port: server.port,
    database: config.database,
    user: config.user,
    connectionTimeoutMillis: config.connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveAfterMs,
    application_name: applicationName.slice(0, 63),
    options: config.options,
    enableChannelBinding: ssl !== false && config.channelBinding !== 'disable',
    // Given as an object and never by URI: pg drops a configured ssl silently when a URI carries sslmode.
    ssl,
  };
  const client = new Client({ ...settings, password: () => password() }, socket);
  const { connection } = client as unknown as { connection: EventEmitter };
  const password = guardLogin(connection, config, isSocket(server) || isVerified(config));
  connection.on('errorMessage', (error: pg.DatabaseError) => {
    for (const part of ['message', 'detail', 'hint', 'where', 'table', 'column', 'constraint'] as const) {
      if (error[part] !== undefined) error[part] = withoutSecrets(config, error[part]);
    }
  });
  // Without a listener a connection lost between two statements would end the process.
  client.on('error', () => {});
  try {
    await client.connect();
    await checkSession(client, config, server);
  } catch (cause) {
    client.end().catch(() => {});
    throw cause instanceof ConnectionError ? cause : connectionError(config, server, cause as NodeJS.ErrnoException);
  }
  return client;
}

/** Throws WrongServer for a standby or, with read-write, a server that is read-only by default. */
async function checkSession(client: pg.Client, config: DatabaseConfig, server: Server): Promise<void> {
  const { targetSession, servers, source, secret } = config;
  // Of several servers a run means the one that it can change.
  const target = targetSession ?? (servers.length > 1 ? 'primary' : 'any');
  if (target === 'any') return;
  const { rows } = await client.query<{ standby: boolean; readOnly: string }>(
    `select pg_catalog.pg_is_in_recovery() as standby,
            pg_catalog.current_setting('default_transaction_read_only') as "readOnly"`,
  );
  const { standby, readOnly } = rows[0]!;
  if (!standby && (target === 'primary' || readOnly === 'off')) return;
  const at = secret
    ? `server ${servers.indexOf(server) + 1} of ${servers.length} in ${source}`
    : `${server.host}:${server.port}`;
  throw new WrongServer(`${at} is ${standby ? 'a standby' : 'read-only'}, and target_session_attrs is ${target}`, {
    cause: new Error('wrong server'),
    mayPass: servers.length > 1,
  });
}

/** True where the server has shown a certificate that nobody else has: of a CA that was given, or for its name. */
function isVerified({ tls }: DatabaseConfig): boolean {
  return tls.mode === 'verify-full' || (tls.mode === 'verify-ca' && tls.ca !== undefined);
}

function tlsOptions({ tls }: DatabaseConfig): false | ConnectionOptions {
  const client = tls.cert === undefined ? {} : { cert: tls.cert, key: tls.key };
  const options = tls.ca === undefined ? client : { ...client, ca: trustedCas(tls.ca) };
  switch (tls.mode) {
    case 'disable':
      return false;
    case 'require':
      return { ...options, rejectUnauthorized: false };
    case 'verify-ca':
      return { ...options, rejectUnauthorized: true, checkServerIdentity: () => undefined };
    case 'verify-full':
      return { ...options, rejectUnauthorized: true };
  }
}
