import { once } from 'node:events';
import { createServer } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Connection } from '../../../src/kubernetes/connection.ts';

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
  const agent = new Agent({ keepAlive: true });
  const requests: string[] = [];
  const server = createServer(async (incoming, answer) => {
    requests.push(`${incoming.method} ${incoming.url}`);
    const { headers: credentials, ...options } = await target.options();
    const headers = { ...incoming.headers, ...credentials, host: new URL(target.server).host };
    const outgoing = request(`${target.server}${incoming.url}`, {
      ...options,
      agent,
      method: incoming.method,
      headers,
    });
    outgoing.on('response', (response) => {
      answer.writeHead(response.statusCode!, response.headers);
      // The headers of a watch come long before its first event.
      answer.flushHeaders();
      response.pipe(answer);
    });
    outgoing.on('error', (error) => answer.destroy(error));
    answer.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    connection: { server: `http://127.0.0.1:${port}`, options: async () => ({}) },
    writes: () => requests.filter((request) => !request.startsWith('GET ')),
    lists: () => requests.filter((request) => /^GET .*\/retentionpolicies\?limit=/.test(request)).length,
    close: async () => {
      server.closeAllConnections();
      server.close();
      agent.destroy();
      await once(server, 'close');
    },
  };
}
