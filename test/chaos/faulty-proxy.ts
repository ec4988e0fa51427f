import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '../../src/kubernetes/connection.ts';

/** What a proxy does to requests: nothing, an answer of its own to each, a wait before each, or no connection at all. */
type ProxyFault = { status: 429 | 500 } | { delayMs: number } | 'refuse' | undefined;

/** A proxy before the API server, with the rights of `target`, that can be told to fail. */
export interface FaultyProxy {
  url: string;
  fault: ProxyFault;
  /** Cuts every connection, watches too. */
  cut(): void;
  close(): void;
}

export async function startFaultyProxy(target: Connection): Promise<FaultyProxy> {
  const agent = new Agent({ keepAlive: true });
  const sockets = new Set<Socket>();
  const server = createServer(async (incoming, answer) => {
    const { fault } = proxy;
    if (fault === 'refuse') return incoming.socket.destroy();
    if (typeof fault === 'object' && 'status' in fault) return refuse(answer, fault.status);
    if (typeof fault === 'object') await sleep(fault.delayMs);
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
      answer.flushHeaders();
      response.on('error', () => answer.destroy());
      response.pipe(answer);
    });
    outgoing.on('error', () => answer.destroy());
    answer.on('close', () => outgoing.destroy());
    incoming.on('error', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const proxy: FaultyProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    fault: undefined,
    cut,
    close() {
      cut();
      server.close();
      agent.destroy();
    },
  };
  return proxy;
}

function refuse(answer: ServerResponse, code: 429 | 500): void {
  const reason = code === 429 ? 'TooManyRequests' : 'InternalError';
  const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: 'for a test' };
  answer.writeHead(code, { 'content-type': 'application/json', ...(code === 429 && { 'retry-after': '1' }) });
  answer.end(JSON.stringify(status));
}
