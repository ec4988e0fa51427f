import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createCertificateAuthority } from './pki.ts';

interface StatusRequest {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: Record<string, unknown>;
  body: unknown;
}

/** An API server that takes reports of runs, over TLS with a CA of its own. */
export interface StatusEndpoint {
  /** The environment by which a Pod finds it. */
  env: Record<string, string>;
  ca: string;
  requests: StatusRequest[];
  /** HTTP statuses of the next answers, `hang` for none; 200 when there are no more. */
  answers: (number | 'hang')[];
  stop(): Promise<void>;
}

export async function startStatusEndpoint(): Promise<StatusEndpoint> {
  const authority = await createCertificateAuthority('status endpoint authority');
  const { certificate, privateKey } = await authority.issueServer('127.0.0.1', ['127.0.0.1']);
  const requests: StatusRequest[] = [];
  const answers: StatusEndpoint['answers'] = [];
  const server = createServer({ cert: certificate, key: privateKey }, (request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      const url = new URL(request.url ?? '', 'https://localhost');
      const query = Object.fromEntries(url.searchParams);
      const { method = '', headers } = request;
      requests.push({ method, path: url.pathname, query, headers, body: JSON.parse(text) });
      const answer = answers.shift() ?? 200;
      if (answer === 'hang') return;
      response.writeHead(answer, { 'content-type': 'application/json' });
      const failure = {
        kind: 'Status',
        apiVersion: 'v1',
        status: 'Failure',
        message: `scripted ${answer}`,
        code: answer,
      };
      response.end(JSON.stringify(answer === 200 ? { metadata: {} } : failure));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    env: {
      KUBERNETES_SERVICE_HOST: '127.0.0.1',
      KUBERNETES_SERVICE_PORT: String((server.address() as AddressInfo).port),
    },
    ca: authority.certificate,
    requests,
    answers,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
