import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { runController } from '../../../src/controller/controller.ts';
import { silent } from '../../support/log.ts';

const policy = {
  apiVersion: 'retention.agentdata.io/v1alpha1',
  kind: 'RetentionPolicy',
  metadata: { namespace: 'x', name: 'invalid', uid: 'u', resourceVersion: '1', generation: 1 },
  spec: {},
};

/** An API server with one policy, which is Stalled; writes to a path that `hangs` matches get no answer. */
async function startApiServer(hangs: RegExp) {
  const hanging: string[] = [];
  const answer = (response: ServerResponse, body: object) => response.end(JSON.stringify(body));
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (request.method !== 'GET') {
      if (hangs.test(url.pathname)) hanging.push(url.pathname);
      else answer(response, policy);
    } else if (url.searchParams.has('watch')) response.writeHead(200).flushHeaders();
    else {
      const items = url.pathname.endsWith('/retentionpolicies') ? [policy] : [];
      answer(response, { metadata: { resourceVersion: '1' }, items });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { hanging, connection: { server: `http://127.0.0.1:${port}`, options: async () => ({}) } };
}

it.each([
  ['a reconcile', /\/status$/],
  ['an Event', /\/events\//],
])(
  'stops within 10 s though the API server never answers %s',
  async (_, path) => {
    const { hanging, connection } = await startApiServer(path);
    const stop = new AbortController();
    const stopped = vi.fn();
    void runController({ connection, image: 'x', log: silent, signal: stop.signal }).then(stopped);
    await vi.waitFor(() => expect(hanging).toHaveLength(1), { timeout: 5000 });
    stop.abort();
    await vi.waitFor(() => expect(stopped).toHaveBeenCalled(), { timeout: 9_500 });
  },
  20_000,
);
