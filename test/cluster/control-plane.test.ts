import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { CoreV1Api, RbacAuthorizationV1Api } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { type ControlPlane, startControlPlane } from '../support/kubernetes/control-plane.ts';
import { startProcessNode } from '../support/kubernetes/process-node.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await startControlPlane();
});

afterAll(() => controlPlane?.stop());

test('a user has the rights that RBAC gives to the groups of the certificate, and no others', async () => {
  const rbac = controlPlane.kubeConfig.makeApiClient(RbacAuthorizationV1Api);
  const core = (await controlPlane.userKubeConfig('joe', ['readers'])).makeApiClient(CoreV1Api);
  await expect(core.listNamespacedConfigMap({ namespace: 'default' })).rejects.toMatchObject({ code: 403 });
  await rbac.createNamespacedRoleBinding({
    namespace: 'default',
    body: {
      metadata: { name: 'readers' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
      subjects: [{ kind: 'Group', name: 'readers', apiGroup: 'rbac.authorization.k8s.io' }],
    },
  });
  await eventually('joe to read ConfigMaps', () =>
    core.listNamespacedConfigMap({ namespace: 'default' }).then(
      () => true,
      () => false,
    ),
  );
  await expect(core.listNamespacedSecret({ namespace: 'default' })).rejects.toMatchObject({ code: 403 });
});

test('a namespace enforces the Pod Security Standard that its label names', async () => {
  const core = controlPlane.kubeConfig.makeApiClient(CoreV1Api);
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  await core.createNamespace({ body: { metadata: { name: 'secured', labels } } });
  const spec = { containers: [{ name: 'main', image: 'any' }] };
  const create = () => core.createNamespacedPod({ namespace: 'secured', body: { metadata: { name: 'pod' }, spec } });
  await eventually('its service account', () =>
    core.readNamespacedServiceAccount({ name: 'default', namespace: 'secured' }).then(
      () => true,
      () => false,
    ),
  );
  await expect(create()).rejects.toThrow(/violates PodSecurity/);
});

test('kubectl gets input and gives output, messages and exit code', async () => {
  const manifest = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'made' } });
  expect(await controlPlane.kubectl(['apply', '-f', '-'], { input: manifest })).toEqual({
    stdout: 'configmap/made created\n',
    stderr: '',
    code: 0,
  });
  const missing = await controlPlane.kubectl(['get', 'configmap', 'none']);
  expect(missing).toMatchObject({ stdout: '', code: 1 });
  expect(missing.stderr).toContain('configmaps "none" not found');
});

test('the API server can go away and come back with its data, at the same address', async () => {
  const core = controlPlane.kubeConfig.makeApiClient(CoreV1Api);
  await core.createNamespacedConfigMap({ namespace: 'default', body: { metadata: { name: 'kept' } } });
  await controlPlane.stopApiServer();
  expect(await answers(controlPlane.server)).toBe(false);
  await controlPlane.startApiServer();
  const kept = await core.readNamespacedConfigMap({ name: 'kept', namespace: 'default' });
  expect(kept.metadata!.name).toBe('kept');
});

test('a process node goes on while the API server is away, and reports when it is back', async () => {
  const core = controlPlane.kubeConfig.makeApiClient(CoreV1Api);
  const node = await startProcessNode({
    kubeConfig: controlPlane.kubeConfig,
    images: { 'shell:1': ['/bin/sh', '-c'] },
  });
  onTestFinished(() => node.stop());
  const create = (name: string, script: string) => {
    const containers = [{ name: 'main', image: 'shell:1', args: [script] }];
    const body = { metadata: { name }, spec: { restartPolicy: 'Never', containers } };
    return core.createNamespacedPod({ namespace: 'default', body });
  };
  const phase = (name: string, wanted: string) =>
    eventually(`Pod ${name} to be ${wanted}`, async () => {
      const pod = await core.readNamespacedPod({ name, namespace: 'default' });
      return pod.status!.phase === wanted;
    });
  const released = join(dirname(controlPlane.kubeconfigPath), 'released');
  await create('before', `until [ -e ${released} ]; do sleep 0.1; done; echo done`);
  await phase('before', 'Running');
  await controlPlane.stopApiServer();
  await writeFile(released, '');
  await eventually('the container to end', async () => (await node.logs('default', 'before')) === 'done\n');
  await controlPlane.startApiServer();
  await phase('before', 'Succeeded');
  await create('after', 'exit 0');
  await phase('after', 'Succeeded');
});

test.each(['SIGKILL', 'SIGINT', 'exception', 'stop'])('nothing is left of a control plane after %s', async (end) => {
  const { child, kubeconfigPath, server } = await startElsewhere();
  expect(await answers(server)).toBe(true);
  if (end.startsWith('SIG')) child.kill(end as NodeJS.Signals);
  else child.stdin!.write(`${end}\n`);
  await eventually('its files to be removed', async () => !existsSync(dirname(kubeconfigPath)));
  await eventually('its API server to be gone', async () => !(await answers(server)));
});

/** A control plane in another process, which ends as a line on its standard input says. */
async function startElsewhere(): Promise<{ child: ChildProcess; kubeconfigPath: string; server: string }> {
  const script = `
    import { createInterface } from 'node:readline';
    import { startControlPlane } from '${join(import.meta.dirname, '../support/kubernetes/control-plane.ts')}';
    const controlPlane = await startControlPlane();
    console.log(JSON.stringify({ kubeconfigPath: controlPlane.kubeconfigPath, server: controlPlane.server }));
    createInterface(process.stdin).on('line', async (line) => {
      if (line === 'exception') throw new Error('as asked');
      await controlPlane.stop();
      process.exit();
    });`;
  const args = ['--input-type=module', '-e', script];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'ignore'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  for await (const line of createInterface(child.stdout)) return { child, ...JSON.parse(line) };
  throw new Error('the control plane did not start');
}

/** Whether something listens there. */
function answers(server: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(server).port), '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
