import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '../../src/kubernetes/connection.ts';
import { type ForwardingProxy, startForwardingProxy } from '../support/kubernetes/forwarding-proxy.ts';

/** What a proxy does to requests: nothing, an answer of its own to each, a wait before each, or no connection at all. */
type ProxyFault = { status: 429 | 500 } | { delayMs: number } | 'refuse' | undefined;

/** A proxy before the API server that can be told to fail. */
export interface FaultyProxy extends ForwardingProxy {
  fault: ProxyFault;
}

export async function startFaultyProxy(target: Connection): Promise<FaultyProxy> {
  const forwarding = await startForwardingProxy(target, async (incoming, answer) => {
    const { fault } = proxy;
    if (fault === undefined) return false;
    if (fault === 'refuse') {
      incoming.socket.destroy();
      return true;
    }
    if ('status' in fault) {
      refuse(answer, fault.status);
      return true;
    }
    await sleep(fault.delayMs);
    return false;
  });
  const proxy: FaultyProxy = { ...forwarding, fault: undefined };
  return proxy;
}

function refuse(answer: ServerResponse, code: 429 | 500): void {
  const reason = code === 429 ? 'TooManyRequests' : 'InternalError';
  const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: 'for a test' };
  answer.writeHead(code, { 'content-type': 'application/json', ...(code === 429 && { 'retry-after': '1' }) });
  answer.end(JSON.stringify(status));
}
