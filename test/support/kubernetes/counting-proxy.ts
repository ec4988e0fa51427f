import type { Connection } from '../../../src/kubernetes/connection.ts';
import { startForwardingProxy } from './forwarding-proxy.ts';

/** A proxy before the API server that remembers what was written through it. */
export interface CountingProxy {
  connection: Connection;
  /** Method and path of all requests so far that were for writing. */
  writes(): string[];
  /** How often policies were listed: at the start, and with every resync. */
  lists(): number;
  close(): Promise<void>;
}

export async function startCountingProxy(target: Connection): Promise<CountingProxy> {
  const requests: string[] = [];
  const { url, close } = await startForwardingProxy(target, ({ method, url }) => {
    requests.push(`${method} ${url}`);
    return false;
  });
  return {
    connection: { server: url, options: async () => ({}) },
    writes: () => requests.filter((request) => !request.startsWith('GET ')),
    lists: () => requests.filter((request) => /^GET .*\/retentionpolicies\?limit=/.test(request)).length,
    close,
  };
}
