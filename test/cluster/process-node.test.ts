import type { V1Container, V1Job, V1Pod, V1PodSpec } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { type ProcessNode, startProcessNode } from '../support/kubernetes/process-node.ts';

const { kubeConfig, core, batch, rbac, createNamespace } = useCluster();
let node: ProcessNode;

beforeAll(async () => {
  const images = {
    'shell:1': ['/bin/sh', '-c'],
    'node:1': ['node', '--input-type=module', '-e'],
    'broken:1': ['/no/such/file'],
  };
  node = await startProcessNode({ kubeConfig, images });
});

afterAll(() => node?.stop());

/** Makes a Job `job` of one container; `script` is for the image's shell or node. */
async function createJob(
  namespace: string,
  script: string,
  { container = {}, pod = {} }: { container?: Partial<V1Container>; pod?: Partial<V1PodSpec> } = {},
  job: Partial<V1Job['spec']> = {},
): Promise<void> {
  const containers = [{ name: 'main', image: 'shell:1', args: [script], ...container }];
  const template = { spec: { restartPolicy: 'Never', terminationGracePeriodSeconds: 5, containers, ...pod } };
  await batch.createNamespacedJob({
    namespace,
    body: { metadata: { name: 'job' }, spec: { backoffLimit: 0, podReplacementPolicy: 'Failed', template, ...job } },
  });
}

/** The namespace's first Pod, once it is as asked for. */
function podWhich(namespace: string, what: string, holds: (pod: V1Pod) => unknown): Promise<V1Pod> {
  return eventually(what, async () => {
    const { items } = await core.listNamespacedPod({ namespace });
    return items.find(holds);
  });
}

const endedPod = (namespace: string) =>
  podWhich(namespace, 'a Pod that has ended', (pod) => ['Succeeded', 'Failed'].includes(pod.status!.phase!));
const runningPod = (namespace: string) =>
  podWhich(namespace, 'a running Pod', (pod) => pod.status!.phase === 'Running');
const waitingPod = (namespace: string, reason: string) =>
  podWhich(namespace, `a container waiting for ${reason}`, (pod) => stateOf(pod).waiting?.reason === reason);

const stateOf = (pod: V1Pod) => pod.status?.containerStatuses?.[0]?.state ?? {};
const condition = (pod: V1Pod, type: string) => pod.status!.conditions?.find((candidate) => candidate.type === type);
const logsOf = (pod: V1Pod) => node.logs(pod.metadata!.namespace!, pod.metadata!.name!);

async function waitForEvent(namespace: string, reason: string): Promise<string> {
  return eventually(`an Event ${reason}`, async () => {
    const { items } = await core.listNamespacedEvent({ namespace });
    return items.find((event) => event.reason === reason)?.message;
  });
}

async function jobCondition(namespace: string, type: string): Promise<string> {
  return eventually(`the Job to be ${type}`, async () => {
    const { status } = await batch.readNamespacedJob({ name: 'job', namespace });
    return status!.conditions?.find((candidate) => candidate.type === type && candidate.status === 'True')?.reason;
  });
}

test('a Pod that exits 0 succeeds, with times, and its Job completes', async () => {
  const namespace = await createNamespace();
  await createJob(namespace, 'echo hello; echo oh >&2');
  const pod = await endedPod(namespace);
  expect(pod.status).toMatchObject({ phase: 'Succeeded', hostIP: '127.0.0.1' });
  expect(pod.spec!.nodeName).toBe('process-node');
  const { exitCode, reason, startedAt, finishedAt, message } = stateOf(pod).terminated!;
  expect({ exitCode, reason, message }).toEqual({ exitCode: 0, reason: 'Completed', message: undefined });
  expect(finishedAt!.getTime()).toBeGreaterThanOrEqual(startedAt!.getTime());
  expect(condition(pod, 'PodScheduled')).toMatchObject({ status: 'True' });
  expect(condition(pod, 'Ready')).toMatchObject({ status: 'False', reason: 'PodCompleted' });
  expect(await logsOf(pod)).toBe('hello\noh\n');
  expect(await jobCondition(namespace, 'Complete')).toBe('CompletionsReached');
});

test('a running Pod is Ready', async () => {
  const namespace = await createNamespace();
  await createJob(namespace, 'sleep 300');
  const pod = await runningPod(namespace);
  expect(stateOf(pod).running!.startedAt).toBeInstanceOf(Date);
  expect(condition(pod, 'Ready')).toMatchObject({ status: 'True' });
  expect(condition(pod, 'ContainersReady')).toMatchObject({ status: 'True' });
});

test('what a container writes to its termination log becomes its message, the last 4,096 bytes of it', async () => {
  const namespace = await createNamespace();
  const script = 'head -c 5000 /dev/zero | tr "\\0" x > "$LOG"; printf end >> "$LOG"; echo other; exit 3';
  const env = [{ name: 'LOG', value: '/var/run/log' }];
  await createJob(namespace, script, {
    container: { env, terminationMessagePath: '/var/run/log', terminationMessagePolicy: 'FallbackToLogsOnError' },
  });
  const pod = await endedPod(namespace);
  expect(pod.status!.phase).toBe('Failed');
  expect(stateOf(pod).terminated).toMatchObject({ exitCode: 3, reason: 'Error', message: `${'x'.repeat(4093)}end` });
  expect(await jobCondition(namespace, 'Failed')).toBe('BackoffLimitExceeded');
});

test('without such a message, the end of the log of a failed container is it, if its policy says so', async () => {
  const [fallback, plain] = [await createNamespace(), await createNamespace()];
  const script = 'for i in $(seq 100); do echo "line $i"; done; exit 1';
  await createJob(fallback, script, { container: { terminationMessagePolicy: 'FallbackToLogsOnError' } });
  await createJob(plain, script);
  const lines = Array.from({ length: 80 }, (_, index) => `line ${index + 21}\n`);
  expect(stateOf(await endedPod(fallback)).terminated!.message).toBe(lines.join(''));
  expect(stateOf(await endedPod(plain)).terminated!.message).toBeUndefined();
});

test('the environment is what the Pod asks for and a kubelet adds, and nothing of this process', async () => {
  const namespace = await createNamespace();
  await core.createNamespacedSecret({
    namespace,
    body: { metadata: { name: 'credentials' }, stringData: { password: 'pa$$(ss)' } },
  });
  const fieldRef = (fieldPath: string) => ({ fieldRef: { fieldPath } });
  const env = [
    { name: 'PLAIN', value: 'a value' },
    { name: 'EXPANDED', value: '$(PLAIN), $(UNKNOWN), $$(PLAIN)' },
    { name: 'POD', valueFrom: fieldRef('metadata.name') },
    { name: 'NAMESPACE', valueFrom: fieldRef('metadata.namespace') },
    { name: 'UID', valueFrom: fieldRef('metadata.uid') },
    { name: 'JOB', valueFrom: fieldRef("metadata.labels['batch.kubernetes.io/job-name']") },
    { name: 'NONE', valueFrom: fieldRef("metadata.annotations['none']") },
    { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'credentials', key: 'password' } } },
    { name: 'OPTIONAL', valueFrom: { secretKeyRef: { name: 'credentials', key: 'none', optional: true } } },
  ];
  await createJob(namespace, 'console.log(JSON.stringify(process.env))', { container: { image: 'node:1', env } });
  const pod = await endedPod(namespace);
  const { PATH, ...others } = JSON.parse(await logsOf(pod));
  const { name, uid } = pod.metadata!;
  const { hostname, port } = new URL(kubeConfig.getCurrentCluster()!.server);
  expect(others).toEqual({
    HOME: '/',
    HOSTNAME: name,
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
    PLAIN: 'a value',
    EXPANDED: 'a value, $(UNKNOWN), $(PLAIN)',
    POD: name,
    NAMESPACE: namespace,
    UID: uid,
    JOB: 'job',
    NONE: '',
    PASSWORD: 'pa$$(ss)',
  });
  expect(PATH).not.toBe('');
});

test('mounted Secrets and ConfigMaps are files, and a missing optional Secret is an empty folder', async () => {
  const namespace = await createNamespace();
  await core.createNamespacedSecret({
    namespace,
    body: { metadata: { name: 'database' }, stringData: { uri: 'postgres://', user: 'me' } },
  });
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'settings' }, data: { a: '1' } } });
  const volumes = [
    { name: 'database', secret: { secretName: 'database' } },
    { name: 'one', secret: { secretName: 'database', items: [{ key: 'user', path: 'deep/name' }] } },
    { name: 'settings', configMap: { name: 'settings' } },
    { name: 'missing', secret: { secretName: 'missing', optional: true } },
    { name: 'scratch', emptyDir: {} },
  ];
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/etc/${name}` }));
  const env = [
    ...volumes.map(({ name }) => ({ name, value: `/etc/${name}` })),
    { name: 'file', value: '/etc/one/deep/name' },
    { name: 'other', value: '/etc/database-not' },
  ];
  const script =
    'cat $database/uri $one/deep/name $file $settings/a; ls $one; ls -A $missing | wc -l; echo x > $scratch/x; echo $other';
  await createJob(namespace, script, { container: { env, volumeMounts }, pod: { volumes } });
  const pod = await endedPod(namespace);
  expect((await logsOf(pod)).split(/\s+/)).toEqual(['postgres://meme1deep', '0', '/etc/database-not', '']);
});

test('a Pod whose Secret is missing waits with the event FailedMount, and starts when the Secret comes', async () => {
  const namespace = await createNamespace();
  await createJob(namespace, 'exit 0', {
    container: { volumeMounts: [{ name: 'database', mountPath: '/etc/database' }] },
    pod: { volumes: [{ name: 'database', secret: { secretName: 'database' } }] },
  });
  expect(await waitForEvent(namespace, 'FailedMount')).toBe(
    'MountVolume.SetUp failed for volume "database" : secret "database" not found',
  );
  await waitingPod(namespace, 'ContainerCreating');
  await core.createNamespacedSecret({ namespace, body: { metadata: { name: 'database' } } });
  expect((await endedPod(namespace)).status!.phase).toBe('Succeeded');
});

test('a Pod whose environment names a missing Secret waits with CreateContainerConfigError', async () => {
  const namespace = await createNamespace();
  const env = [{ name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'none', key: 'password' } } }];
  await createJob(namespace, 'exit 0', { container: { env } });
  const pod = await waitingPod(namespace, 'CreateContainerConfigError');
  expect(stateOf(pod).waiting!.message).toBe('secret "none" not found');
  expect(pod.status!.phase).toBe('Pending');
});

test('a Pod with an unknown image never starts: ErrImagePull, then ImagePullBackOff, with Events', async () => {
  const namespace = await createNamespace();
  await createJob(namespace, 'exit 0', { container: { image: 'unknown:1' } });
  const pod = await waitingPod(namespace, 'ImagePullBackOff');
  expect(stateOf(pod).waiting!.message).toBe(
    'Back-off pulling image "unknown:1": ErrImagePull: failed to pull and unpack image "unknown:1": failed to resolve image: unknown:1: not found',
  );
  expect(await waitForEvent(namespace, 'BackOff')).toBe('Back-off pulling image "unknown:1"');
  await batch.deleteNamespacedJob({ name: 'job', namespace, propagationPolicy: 'Background' });
  await eventually('the Pod to be gone', async () => (await core.listNamespacedPod({ namespace })).items.length === 0);
});

test('a Pod that no node fits stays unscheduled, with the event FailedScheduling', async () => {
  const namespace = await createNamespace();
  await createJob(namespace, 'exit 0', { pod: { nodeSelector: { disk: 'ssd' } } });
  const pod = await podWhich(namespace, 'PodScheduled=False', (candidate) => condition(candidate, 'PodScheduled'));
  expect(condition(pod, 'PodScheduled')).toMatchObject({ status: 'False', reason: 'Unschedulable' });
  expect(await waitForEvent(namespace, 'FailedScheduling')).toContain("didn't match Pod's node affinity/selector");
});

test('a program that is not there ends as StartError with exit code 128', async () => {
  const namespace = await createNamespace();
  await createJob(namespace, 'exit 0', { container: { image: 'broken:1' } });
  const pod = await endedPod(namespace);
  expect(stateOf(pod).terminated).toMatchObject({ exitCode: 128, reason: 'StartError' });
  expect(stateOf(pod).terminated!.message).toContain('/no/such/file');
});

test("the projected token calls the API server with the Pod's service account, and with no other rights", async () => {
  const namespace = await createNamespace();
  await core.createNamespacedServiceAccount({ namespace, body: { metadata: { name: 'runner' } } });
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'allowed' }, data: { answer: '42' } } });
  await rbac.createNamespacedRole({
    namespace,
    body: {
      metadata: { name: 'runner' },
      rules: [{ apiGroups: [''], resources: ['configmaps'], resourceNames: ['allowed'], verbs: ['get'] }],
    },
  });
  await rbac.createNamespacedRoleBinding({
    namespace,
    body: {
      metadata: { name: 'runner' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'runner' },
      subjects: [{ kind: 'ServiceAccount', name: 'runner', namespace }],
    },
  });
  const script = `
    import { readFileSync } from 'node:fs';
    import { get } from 'node:https';
    const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port, ACCOUNT } = process.env;
    const read = (name) => readFileSync(ACCOUNT + '/' + name, 'utf8');
    const headers = { authorization: 'Bearer ' + read('token') };
    for (const name of ['allowed', 'kube-root-ca.crt']) {
      const path = '/api/v1/namespaces/' + read('namespace') + '/configmaps/' + name;
      const status = await new Promise((resolve, reject) =>
        get({ host, port, path, headers, ca: read('ca.crt') }, (response) => resolve(response.statusCode)).on('error', reject));
      console.log(status);
    }
    process.exit();`;
  const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount';
  await createJob(namespace, script, {
    container: { image: 'node:1', env: [{ name: 'ACCOUNT', value: mountPath }] },
    pod: { serviceAccountName: 'runner' },
  });
  expect(await logsOf(await endedPod(namespace))).toBe('200\n403\n');
});

test('a deleted Pod gets SIGTERM, may end in order, and is then removed', async () => {
  const namespace = await createNamespace();
  await createJob(namespace, 'trap "echo terminated; exit 4" TERM; echo ready; while :; do sleep 0.1; done');
  const pod = await runningPod(namespace);
  await eventually('the container to be ready', async () => (await logsOf(pod)).includes('ready'));
  await batch.deleteNamespacedJob({ name: 'job', namespace, propagationPolicy: 'Background' });
  await eventually('the Pod to be gone', async () => (await core.listNamespacedPod({ namespace })).items.length === 0);
  expect(await logsOf(pod)).toBe('ready\nterminated\n');
  expect(await waitForEvent(namespace, 'Killing')).toBe('Stopping container main');
});

test('a container that ignores SIGTERM is killed after the grace period; its last status is seen before it goes', async () => {
  const namespace = await createNamespace();
  const finalizers = ['test/hold'];
  await core.createNamespacedPod({
    namespace,
    body: {
      metadata: { name: 'stubborn', finalizers },
      spec: {
        restartPolicy: 'Never',
        containers: [{ name: 'main', image: 'shell:1', args: ['trap "" TERM; while :; do sleep 0.1; done'] }],
      },
    },
  });
  await runningPod(namespace);
  await core.deleteNamespacedPod({ name: 'stubborn', namespace, gracePeriodSeconds: 1 });
  const pod = await endedPod(namespace);
  expect(pod.status!.phase).toBe('Failed');
  expect(stateOf(pod).terminated).toMatchObject({ exitCode: 137, reason: 'Error' });
  const body = [{ op: 'remove', path: '/metadata/finalizers' }];
  await core.patchNamespacedPod({ name: 'stubborn', namespace, body });
  await eventually('the Pod to be gone', async () => (await core.listNamespacedPod({ namespace })).items.length === 0);
});

test("a Job's deadline ends its Pod", async () => {
  const namespace = await createNamespace();
  await createJob(namespace, 'while :; do sleep 0.1; done', {}, { activeDeadlineSeconds: 1 });
  expect(await jobCondition(namespace, 'Failed')).toBe('DeadlineExceeded');
  await eventually('the Pod to be gone', async () => (await core.listNamespacedPod({ namespace })).items.length === 0);
});

test("a Pod's own deadline makes it fail with DeadlineExceeded", async () => {
  const namespace = await createNamespace();
  await createJob(namespace, 'while :; do sleep 0.1; done', { pod: { activeDeadlineSeconds: 8 } });
  const pod = await endedPod(namespace);
  expect(pod.status).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded' });
  expect(stateOf(pod).terminated).toMatchObject({ exitCode: 143 });
});

test('a killed container ends with 137, and as OOMKilled when memory was the reason', async () => {
  const [killed, outOfMemory] = [await createNamespace(), await createNamespace()];
  await createJob(killed, 'sleep 300');
  await createJob(outOfMemory, 'sleep 300');
  await node.kill(killed, (await runningPod(killed)).metadata!.name!);
  await node.kill(outOfMemory, (await runningPod(outOfMemory)).metadata!.name!, { oom: true });
  expect(stateOf(await endedPod(killed)).terminated).toMatchObject({ exitCode: 137, reason: 'Error' });
  expect(stateOf(await endedPod(outOfMemory)).terminated).toMatchObject({ exitCode: 137, reason: 'OOMKilled' });
});

test('a drained Pod is a disruption: a Job that ignores those starts another', async () => {
  const namespace = await createNamespace();
  await createJob(
    namespace,
    'sleep 300',
    {},
    {
      podFailurePolicy: {
        rules: [{ action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }],
      },
    },
  );
  const first = await runningPod(namespace);
  await node.drain(namespace, first.metadata!.name!);
  await podWhich(
    namespace,
    'another running Pod',
    (pod) => pod.status!.phase === 'Running' && pod.metadata!.uid !== first.metadata!.uid,
  );
  const { status } = await batch.readNamespacedJob({ name: 'job', namespace });
  expect(status!.failed ?? 0).toBe(0);
});

test('a Pod of two containers is refused in plain words', async () => {
  const namespace = await createNamespace();
  const containers = ['a', 'b'].map((name) => ({ name, image: 'shell:1' }));
  await createJob(namespace, '', { pod: { containers } });
  const pod = await endedPod(namespace);
  expect(pod.status).toMatchObject({ phase: 'Failed', reason: 'UnexpectedAdmissionError' });
});
