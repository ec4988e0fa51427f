import type { EventEmitter } from 'node:events';
import type { AuthMethod, DatabaseConfig } from './config.ts';

/** A login that this side broke off; nothing of the password has been sent. */
export class AuthenticationRefused extends Error {
  override name = 'AuthenticationRefused';
}

/** The server asks for a password, and there is none. */
export class PasswordMissing extends AuthenticationRefused {}

/**
 * Watches what a server asks for at login. Returns the password as the driver takes it: a function that is called when
 * the server asks, and throws where it must not be sent. `trusted`: the server's identity was verified, or it is a unix
 * socket. Listens before the driver does, so it must be called before the driver connects.
 */
export function guardLogin(
  connection: EventEmitter,
  { password, requireAuth, channelBinding }: DatabaseConfig,
  trusted: boolean,
): () => Promise<string> {
  let asked: AuthMethod = 'none';
  let bound = false;
  let proved = false;
  connection.on('authenticationCleartextPassword', () => {
    asked = 'password';
  });
  connection.on('authenticationMD5Password', () => {
    asked = 'md5';
  });
  connection.on('authenticationSASL', ({ mechanisms }: { mechanisms: string[] }) => {
    asked = 'scram-sha-256';
    bound = mechanisms.includes('SCRAM-SHA-256-PLUS');
  });
  connection.on('authenticationSASLFinal', () => {
    proved = true;
  });
  const check = () => {
    if (requireAuth !== undefined && !requireAuth.methods.includes(asked)) {
      throw new AuthenticationRefused(`it asks for the login method ${asked}, which require_auth does not allow`);
    }
    if (channelBinding === 'require' && !bound) {
      throw new AuthenticationRefused('it offers no channel binding, and channel_binding is require');
    }
    if (asked === 'password' && !trusted && !requireAuth?.named) {
      throw new AuthenticationRefused(
        'it asks for the password in clear text, and its identity was not verified: use SCRAM there, or sslmode verify-full, or allow it by require_auth=password',
      );
    }
  };
  connection.on('authenticationOk', () => {
    try {
      check();
      if (asked === 'scram-sha-256' && !proved) {
        throw new AuthenticationRefused('it ended the login without the proof that it knows the password');
      }
    } catch (error) {
      connection.emit('error', error);
    }
  });
  return async () => {
    check();
    if (!password) throw new PasswordMissing('it asks for a password, and none was given');
    return password;
  };
}
