import type { tlsModes } from '../api/spec.ts';

export type TlsMode = (typeof tlsModes)[number];

/** Bad input or configuration: exit code 2, and a sentence that says what to correct. */
export class ConfigurationError extends Error {
  override name = 'ConfigurationError';
}

/** A host name, an address, or the folder of a unix socket. */
export interface Server {
  host: string;
  port: number;
}

/** How a connection is protected; `ca`, `cert` and `key` are PEM text, and `ca` may be the word system. */
export interface TlsConfig {
  mode: TlsMode;
  ca?: string;
  cert?: string;
  key?: string;
}

/** Where a database is and as whom to log in; `source` names where that was said, for error messages. */
export interface DatabaseConfig extends SessionParameters {
  source: string;
  /** True where all this is from a Secret: no message shows any of it. */
  secret?: boolean;
  /** Tried in this order. */
  servers: Server[];
  database: string;
  user: string;
  password?: string;
  connectTimeoutMs: number;
  tls: TlsConfig;
}

/** libpq's parameters of these names, checked. */
export interface SessionParameters {
  channelBinding?: 'disable' | 'prefer' | 'require';
  requireAuth?: RequireAuth;
  targetSession?: 'any' | 'read-write' | 'primary';
  options?: string;
}

export const authMethods = ['password', 'md5', 'scram-sha-256', 'none'] as const;
export type AuthMethod = (typeof authMethods)[number];

/** The ways to log in that a server may ask for; `named` where they were listed, and not what is left by exclusion. */
export interface RequireAuth {
  methods: AuthMethod[];
  named: boolean;
}

/** True for the folder of a unix socket, which stays on this machine. */
export function isSocket(server: Server): boolean {
  return server.host.startsWith('/');
}
