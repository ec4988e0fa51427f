import { afterAll, inject } from 'vitest';
import { namespace } from '../support/deploy/helm.ts';
import { release } from '../support/deploy/install.ts';
import { startFreezingProxy } from '../support/freezing-proxy.ts';
import type { Cluster } from '../support/kubernetes/cluster.ts';
import { PolicyRuns, restricted } from '../support/policy-runs.ts';
import { type RunServer, startRunServer } from '../support/postgres/run-database.ts';

const service = 'database';

/** Installs the chart with the image under test, or upgrades it with these settings, and waits until it is ready. */
export async function install(cluster: Cluster, settings: string[] = []): Promise<void> {
  const { repository, tag } = parseImage(inject('e2e').image);
  const image = [`image.repository=${repository}`, `image.tag=${tag}`];
  const flags = [...image, ...settings].flatMap((setting) => ['--set', setting]);
  await release(cluster, 'upgrade', ['--install', '--create-namespace', '--wait', '--timeout=120s', ...flags]);
  await cluster.core.patchNamespace({
    name: namespace,
    body: [{ op: 'add', path: '/metadata/labels/pod-security.kubernetes.io~1enforce', value: 'restricted' }],
  });
}

function parseImage(image: string): { repository: string; tag: string } {
  const at = image.lastIndexOf(':');
  return { repository: image.slice(0, at), tag: image.slice(at + 1) };
}

/** A namespace with the restricted standard, and a PostgreSQL that its Pods know as the Service `database`. */
export interface Lab {
  runs: PolicyRuns;
  server: RunServer;
}

/** Makes one for a test file. */
export async function createLab(cluster: Cluster): Promise<Lab> {
  const namespace = await cluster.createNamespace(restricted);
  const host = `${service}.${namespace}.svc`;
  const server = await startRunServer(host);
  const runs = new PolicyRuns(cluster, namespace);
  const sample = await server.createDatabase();
  const { machineAddress } = inject('e2e');
  const proxy = await startFreezingProxy({ host: '127.0.0.1', port: Number(sample.login.port) }, machineAddress);
  afterAll(async () => {
    proxy.stop();
    await server.stop();
  });
  await applyService(runs, machineAddress, { service: Number(sample.login.port), proxy: proxy.port });
  return { runs, server };
}

/** A Service without a selector, whose endpoint is this machine. */
async function applyService(
  runs: PolicyRuns,
  address: string,
  ports: { service: number; proxy: number },
): Promise<void> {
  const items = [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: service },
      spec: { ports: [{ port: ports.service, targetPort: ports.proxy }] },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: service, labels: { 'kubernetes.io/service-name': service } },
      addressType: 'IPv4',
      ports: [{ port: ports.proxy }],
      endpoints: [{ addresses: [address] }],
    },
  ];
  await runs.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
}
