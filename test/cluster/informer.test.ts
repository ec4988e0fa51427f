import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { Client } from '../../src/kubernetes/client.ts';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import { Informer, type InformerOptions } from '../../src/kubernetes/informer.ts';
import type { KubernetesObject, Resource } from '../../src/kubernetes/types.ts';
import { type ControlPlane, startControlPlane } from '../support/kubernetes/control-plane.ts';
import { recordingLog } from '../support/log.ts';

interface ConfigMap extends KubernetesObject {
  data?: Record<string, string>;
}
const configMaps: Resource<ConfigMap> = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  namespaced: true,
};
const soon = { timeout: 60_000, interval: 50 };

// Its own control plane: it kills the API server.
let controlPlane: ControlPlane;
let client: Client;
beforeAll(async () => {
  controlPlane = await startControlPlane();
  client = new Client(connectionFromKubeconfig(controlPlane.kubeconfigPath));
});
afterAll(() => controlPlane.stop());

function start<T extends KubernetesObject>(
  options: Pick<InformerOptions<T>, 'resource'> & Partial<InformerOptions<T>>,
) {
  const { log, lines } = recordingLog();
  const changes: [T | undefined, T | undefined][] = [];
  const stop = new AbortController();
  const onChange = (old: T | undefined, current: T | undefined) => changes.push([old, current]);
  const informer = new Informer<T>({ client, log, onChange, ...options });
  const running = informer.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  return { informer, changes, lines };
}

const put = (name: string, value: string) =>
  client.apply(
    configMaps,
    { metadata: { namespace: 'default', name, labels: { test: 'informer' } }, data: { value } },
    { fieldManager: 'test' },
  );

describe('informer on a real API server', () => {
  it('misses nothing while the API server goes away and comes back', async () => {
    const { informer, changes, lines } = start({ resource: configMaps, labelSelector: 'test=informer' });
    await informer.synced;
    const values = () => Object.fromEntries(informer.list().map(({ metadata, data }) => [metadata.name, data?.value]));
    const expected: Record<string, string> = {};
    const everSeen = new Set<string>();

    for (let round = 0; round < 3; round++) {
      await Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          const name = `r${round}-${index}`;
          await put(name, '1');
          everSeen.add(name);
          if (index % 3 === 0) await client.delete(configMaps, { namespace: 'default', name });
          else expected[name] = '1';
        }),
      );
      const updated = `r${round}-1`;
      await put(updated, 'before');
      await controlPlane.stopApiServer();
      await vi.waitFor(() => expect(lines.some(({ level }) => level === 'warn')).toBe(true), soon);
      lines.length = 0;
      await controlPlane.startApiServer();
      // Most likely made before the informer is back, which waits up to 30 s.
      await put(updated, 'after');
      expected[updated] = 'after';
      await client.delete(configMaps, { namespace: 'default', name: `r${round}-2` });
      delete expected[`r${round}-2`];
      await vi.waitFor(() => expect(values()).toEqual(expected), soon);
    }

    const told = (deleted: boolean) =>
      new Set(changes.flatMap(([old, current]) => (deleted === !current ? [(current ?? old)!.metadata.name] : [])));
    for (const name of Object.keys(expected)) expect(told(false)).toContain(name);
    for (let round = 0; round < 3; round++) expect(told(true)).toContain(`r${round}-2`);
    expect(everSeen.size).toBe(60);
  });

  it('gives the same JSON by list and by watch', async () => {
    await put('listed', '1');
    const { informer } = start({ resource: configMaps, namespace: 'default' });
    await informer.synced;
    await put('watched', '1');
    const get = (name: string) => informer.get({ namespace: 'default', name });
    await vi.waitFor(() => expect(get('watched')).toBeDefined(), soon);
    for (const object of [get('listed'), get('watched')]) {
      expect(object).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap', data: { value: '1' } });
      expect(object?.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    }
    expect(get('listed')).toEqual(await client.get(configMaps, { namespace: 'default', name: 'listed' }));
  });

  it('waits for a CRD that is not there yet, and follows it when it comes', async () => {
    const widgets: Resource = { apiVersion: 'test.io/v1', kind: 'Widget', plural: 'widgets', namespaced: true };
    const { informer, lines } = start({ resource: widgets, backoff: { baseMs: 50, maxMs: 500 } });
    const synced = vi.fn();
    void informer.synced.then(synced);
    await vi.waitFor(() => expect(lines.length).toBeGreaterThan(2), soon);
    expect(synced).not.toHaveBeenCalled();
    expect(lines.at(-1)?.details).toMatchObject({ kind: 'Widget', status: 404 });

    const crds: Resource<KubernetesObject & { spec: object }> = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      plural: 'customresourcedefinitions',
      namespaced: false,
    };
    const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
    const spec = {
      group: 'test.io',
      scope: 'Namespaced',
      names: { kind: 'Widget', plural: 'widgets' },
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    };
    await client.create(crds, { metadata: { name: 'widgets.test.io' }, spec });
    await informer.synced;
    await client.create(widgets, { metadata: { namespace: 'default', name: 'w' } });
    await vi.waitFor(() => expect(informer.get({ namespace: 'default', name: 'w' })).toBeDefined(), soon);

    lines.length = 0;
    await client.delete(crds, { name: 'widgets.test.io' });
    await vi.waitFor(() => expect(lines.at(-1)?.details).toMatchObject({ status: 404 }), soon);
    expect(informer.list()).toEqual([]);
    await vi.waitFor(async () => {
      await client.create(crds, { metadata: { name: 'widgets.test.io' }, spec });
    }, soon);
    await vi.waitFor(async () => {
      await client.create(widgets, { metadata: { namespace: 'default', name: 'again' } });
    }, soon);
    await vi.waitFor(() => expect(informer.get({ namespace: 'default', name: 'again' })).toBeDefined(), soon);
  });

  it('recovers when its rights are taken away and given back', async () => {
    const user = await controlPlane.userKubeConfig('someone');
    const kubectl = async (...args: string[]) => expect(await controlPlane.kubectl(args)).toMatchObject({ code: 0 });
    const grant = () => kubectl('create', 'clusterrolebinding', 'someone', '--clusterrole=view', '--user=someone');
    const file = join(dirname(controlPlane.kubeconfigPath), 'someone.kubeconfig');
    await writeFile(file, user.exportConfig());
    const { informer, lines } = start({
      resource: configMaps,
      client: new Client(connectionFromKubeconfig(file)),
      backoff: { baseMs: 50, maxMs: 500 },
      relistMs: 500,
    });
    await vi.waitFor(() => expect(lines.length).toBeGreaterThan(2), soon);
    expect(lines.at(-1)?.details).toMatchObject({ status: 403, reason: 'Forbidden' });
    await grant();
    await informer.synced;
    await kubectl('delete', 'clusterrolebinding', 'someone');
    lines.length = 0;
    await vi.waitFor(() => expect(lines.some(({ level }) => level === 'warn')).toBe(true), soon);
    await put('granted-again', '1');
    await grant();
    await vi.waitFor(() => expect(informer.get({ namespace: 'default', name: 'granted-again' })).toBeDefined(), soon);
  });
});
