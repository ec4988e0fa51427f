import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Connection } from '../../../src/kubernetes/connection.ts';

/** A proxy before an API server, without TLS of its own, that asks with the rights of `target`. */
export interface ForwardingProxy {
  url: string;
  /** Cuts every connection, watches too. */
  cut(): void;
  close(): Promise<void>;
}

/** `intercept` sees each request first; where it gives true it has seen to the answer itself. */
export async function startForwardingProxy(
  target: Connection,
  intercept: (incoming: IncomingMessage, answer: ServerResponse) => boolean | Promise<boolean>,
): Promise<ForwardingProxy> {
  const agent = new Agent({ keepAlive: true });
  const server = createServer(async (incoming, answer) => {
    if (await intercept(incoming, answer)) return;
    const { headers: credentials, ...options } = await target.options();
    const headers = { ...incoming.headers, ...(credentials as object), host: new URL(target.server).host };
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
      response.on('error', () => answer.destroy());
      response.pipe(answer);
    });
    outgoing.on('error', (error) => answer.destroy(error));
    answer.on('close', () => outgoing.destroy());
    incoming.on('error', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => server.closeAllConnections(),
    async close() {
      server.closeAllConnections();
      server.close();
      agent.destroy();
      await once(server, 'close');
    },
  };
}
