import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';

/** What authenticates one request: TLS material and headers. */
export type ConnectionOptions = Pick<
  RequestOptions,
  'ca' | 'cert' | 'key' | 'pfx' | 'passphrase' | 'rejectUnauthorized' | 'servername' | 'headers' | 'auth' | 'agent'
>;

/** How to reach and authenticate to an API server. */
export interface Connection {
  /** The base URL, with a path where the server sits behind one. */
  readonly server: string;
  /** Asked before every request, so that rotated credentials are picked up. */
  options(): Promise<ConnectionOptions>;
}

const serviceAccountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * The connection of a Pod: `<directory>/token` and `<directory>/ca.crt`, read anew for each request because the
 * kubelet rotates them. Imports nothing of client-node, which alone takes most of a second to load.
 */
export function serviceAccountConnection(
  directory: string = serviceAccountDirectory,
  host: string | undefined = process.env.KUBERNETES_SERVICE_HOST,
  port: string | undefined = process.env.KUBERNETES_SERVICE_PORT,
): Connection {
  if (!host || !port) {
    throw new Error('KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this does not run in a Pod');
  }
  return {
    server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    async options() {
      const [ca, token] = await Promise.all([
        readFile(join(directory, 'ca.crt'), 'utf8'),
        readFile(join(directory, 'token'), 'utf8'),
      ]);
      return { ca, headers: { authorization: `Bearer ${token.trim()}` } };
    },
  };
}
