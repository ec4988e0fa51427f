import { readFileSync } from 'node:fs';
import type { KubeConfig } from '@kubernetes/client-node';
import { runFieldManager } from '../../src/api/policy.ts';
import { resources } from '../../src/controller/objects.ts';
import { Client } from '../../src/kubernetes/client.ts';
import type { KubernetesObject, Resource } from '../../src/kubernetes/types.ts';

/** A client with the rights of a token, and no more. */
export function bearerClient(kubeConfig: KubeConfig, token: string): Client {
  const { server, caData, caFile } = kubeConfig.getCurrentCluster()!;
  const ca = caData ? Buffer.from(caData, 'base64') : readFileSync(caFile!);
  const headers = { authorization: `Bearer ${token}` };
  return new Client({ server, options: async () => ({ ca, headers }) });
}

const applyOptions = { fieldManager: runFieldManager('cleanup'), force: true };

interface PolicyName {
  namespace: string;
  name: string;
}

/** What a run does with its token: writes into the status of a policy. */
export function reportStatus(client: Client, metadata: PolicyName, options: { dryRun?: boolean } = {}) {
  const status = { jobs: [{ name: 'cleanup' }] };
  return client.apply(resources.policies, { metadata, status }, { ...applyOptions, ...options, subresource: 'status' });
}

/** A policy of the runner's, and `other` in the same namespace. */
interface Place extends PolicyName {
  other: string;
}
type Attempt = (client: Client, place: Place) => Promise<unknown>;

const builtIn = (kind: string, plural: string): Resource<KubernetesObject> => ({
  apiVersion: 'v1',
  kind,
  plural,
  namespaced: true,
});
const secrets = builtIn('Secret', 'secrets');
const configMaps = builtIn('ConfigMap', 'configmaps');
const all: Resource<KubernetesObject>[] = [...Object.values(resources), secrets, configMaps];

/** What a runner's token must not do, in words, and how it is tried. */
export const forbidden: [string, Attempt][] = [
  ...all.flatMap((resource): [string, Attempt][] => [
    [`list ${resource.plural}`, (client, { namespace }) => client.list(resource, { namespace })],
    [`list all ${resource.plural}`, (client) => client.list(resource)],
    [
      `create ${resource.plural}`,
      (client, { namespace }) => client.create(resource, { metadata: { name: 'tried', namespace } }),
    ],
  ]),
  ['get its policy', (client, { namespace, name }) => client.get(resources.policies, { namespace, name })],
  ['get its Secret', (client, { namespace, name }) => client.get(secrets, { namespace, name: `${name}-db` })],
  [
    'get the CA of the cluster',
    (client, { namespace }) => client.get(configMaps, { namespace, name: 'kube-root-ca.crt' }),
  ],
  [
    'patch the spec of its policy',
    (client, { namespace, name }) =>
      client.apply(resources.policies, { metadata: { namespace, name }, spec: { suspend: true } }, applyOptions),
  ],
  [
    'patch the status of another policy',
    (client, { namespace, other }) => reportStatus(client, { namespace, name: other }),
  ],
  ['delete its policy', (client, { namespace, name }) => client.delete(resources.policies, { namespace, name })],
  [
    'delete its CronJob',
    (client, { namespace, name }) => client.delete(resources.cronJobs, { namespace, name: `${name}-cleanup` }),
  ],
  ['delete its Secret', (client, { namespace, name }) => client.delete(secrets, { namespace, name: `${name}-db` })],
  [
    'give itself rights',
    (client, { namespace, name }) =>
      client.apply(resources.roles, { metadata: { namespace, name: `retention-${name}` } }, applyOptions),
  ],
];
