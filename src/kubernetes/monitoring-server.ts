import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';

/** What a server for probes and Prometheus answers with; each check gives the reasons why not, none where it is passed. */
export interface Monitored {
  /** In Prometheus' text format. */
  metrics(): Promise<string>;
  unhealthy(): string[];
  /** `remarks` are what is not well though it is ready. */
  readiness(): { notReady: string[]; remarks: string[] };
}

/** Serves /metrics, /healthz and /readyz on a port, 0 for any free one. Rejects where the port cannot be had. */
export async function startMonitoringServer(
  port: number,
  { metrics, unhealthy, readiness }: Monitored,
): Promise<{ port: number; close(): void }> {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (path === '/healthz') return answerCheck(response, unhealthy());
    if (path === '/readyz') {
      const { notReady, remarks } = readiness();
      return answerCheck(response, notReady, remarks);
    }
    if (path !== '/metrics') return answer(response, 404, 'there is /metrics, /healthz and /readyz');
    metrics().then(
      (text) => answer(response, 200, text, Registry.PROMETHEUS_CONTENT_TYPE),
      (error: Error) => answer(response, 500, error.message),
    );
  });
  server.listen(port);
  await once(server, 'listening').catch((cause: Error) => {
    throw new Error(`port ${port}, for /metrics and the probes, cannot be had: ${cause.message}`, { cause });
  });
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function answerCheck(response: ServerResponse, reasons: string[], remarks: string[] = []): void {
  if (reasons.length === 0) answer(response, 200, ['ok', ...remarks].join('; '));
  else answer(response, 503, reasons.join('; '));
}

function answer(response: ServerResponse, status: number, text: string, contentType = 'text/plain; charset=utf-8') {
  response.writeHead(status, { 'content-type': contentType }).end(`${text}\n`);
}
