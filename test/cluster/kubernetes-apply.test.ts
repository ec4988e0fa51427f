import type { V1CronJob, V1Job } from '@kubernetes/client-node';
import { describe, expect, it } from 'vitest';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { type ApplyConfiguration, Client } from '../../src/kubernetes/client.ts';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import { applyWouldChange } from '../../src/kubernetes/equality.ts';
import { EventRecorder } from '../../src/kubernetes/events.ts';
import type { Live, Resource } from '../../src/kubernetes/types.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { silent } from '../support/log.ts';

type CronJob = Live<V1CronJob>;
const cronJobs: Resource<CronJob> = { apiVersion: 'batch/v1', kind: 'CronJob', plural: 'cronjobs', namespaced: true };
type Job = Live<V1Job>;
const jobs: Resource<Job> = { apiVersion: 'batch/v1', kind: 'Job', plural: 'jobs', namespaced: true };
const fieldManager = 'tester';

/** Has what an API server fills in, rewrites, leaves out, merges by key or keeps as a whole. */
function desired(namespace: string) {
  return {
    metadata: { namespace, name: 'a', labels: { app: 'x' } as Record<string, string>, annotations: {} },
    spec: {
      // Not due in any test: Kubernetes would write the status.
      schedule: '1 1 1 1 *',
      suspend: false,
      jobTemplate: {
        spec: {
          backoffLimit: 0,
          podFailurePolicy: {
            rules: [{ action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget' }] }],
          },
          template: {
            metadata: { labels: {} },
            spec: {
              restartPolicy: 'Never',
              hostNetwork: false,
              nodeSelector: {} as Record<string, string>,
              tolerations: [] as { key: string; operator: string }[],
              imagePullSecrets: [] as { name: string }[],
              hostAliases: [],
              initContainers: [],
              topologySpreadConstraints: [],
              affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] }, podAffinity: {} },
              securityContext: { supplementalGroups: [], seLinuxOptions: {} },
              volumes: [
                { name: 'empty', emptyDir: {} },
                { name: 'scratch', emptyDir: { sizeLimit: '1024Mi' } },
                {
                  name: 'token',
                  projected: { sources: [{ serviceAccountToken: { path: 'token' } }, { secret: { name: 's' } }] },
                },
              ],
              containers: [
                {
                  name: 'main',
                  image: 'x',
                  args: [] as string[],
                  tty: false,
                  envFrom: [],
                  volumeDevices: [],
                  env: [
                    { name: 'EMPTY', value: '' },
                    { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
                  ],
                  ports: [{ containerPort: 80 }],
                  resources: { limits: { cpu: '1000m', memory: '0.5Gi' }, requests: { cpu: '0.1' }, claims: [] },
                  volumeMounts: [{ name: 'scratch', mountPath: '/tmp', readOnly: false }],
                },
              ],
            },
          },
        },
      },
    },
  };
}
type Desired = ReturnType<typeof desired>;
const podOf = (object: Desired) => object.spec.jobTemplate.spec.template.spec;
const mainOf = (object: Desired) => podOf(object).containers[0]!;

const edits: [string, (object: Desired) => unknown][] = [
  ['nothing', () => {}],
  ['schedule', (object) => Object.assign(object.spec, { schedule: '0 3 * * *' })],
  ['suspend no longer stated', (object) => Reflect.deleteProperty(object.spec, 'suspend')],
  ['a new field with its default', (object) => Object.assign(object.spec, { concurrencyPolicy: 'Allow' })],
  ['a label added', (object) => Object.assign(object.metadata.labels, { more: 'y' })],
  ['a label replaced', (object) => Object.assign(object.metadata, { labels: { other: 'x' } })],
  ['the owner', (object) => Object.assign(object.metadata, { ownerReferences: [owner] })],
  ['the same quantity in other words', (object) => Object.assign(mainOf(object).resources.limits, { cpu: '1' })],
  ['another quantity', (object) => Object.assign(mainOf(object).resources.limits, { cpu: '1001m' })],
  ['a limit no longer stated', (object) => Reflect.deleteProperty(mainOf(object).resources.limits, 'cpu')],
  ['an environment variable more', (object) => mainOf(object).env.push({ name: 'B', value: 'b' })],
  ['an environment variable less', (object) => mainOf(object).env.pop()],
  ['arguments', (object) => mainOf(object).args.push('run')],
  ['a node selector', (object) => Object.assign(podOf(object).nodeSelector, { disk: 'ssd' })],
  ['a toleration', (object) => podOf(object).tolerations.push({ key: 'a', operator: 'Exists' })],
  ['an image pull secret', (object) => podOf(object).imagePullSecrets.push({ name: 'registry' })],
  ['a volume less', (object) => podOf(object).volumes.shift()],
  ['a source within a projected volume', (object) => podOf(object).volumes[2]!.projected!.sources.pop()],
  ['true for false', (object) => Object.assign(podOf(object), { hostNetwork: true })],
];
const owner = { apiVersion: 'v1', kind: 'ConfigMap', name: 'o', uid: 'c9ae3c2e-3c1b-4b4b-9c3e-1f3f5d9f0a11' };

describe('server-side apply', () => {
  const cluster = useCluster();
  const client = new Client(connectionFromKubeconfig(cluster.kubeconfigPath));
  const apply = (object: Desired) => client.apply(cronJobs, object, { fieldManager, force: true });

  it.each(edits)('applyWouldChange foresees what the API server does: %s', async (_, edit) => {
    const namespace = await cluster.createNamespace();
    const before = await apply(desired(namespace));
    const object = desired(namespace);
    edit(object);
    const foreseen = applyWouldChange(object, before, { fieldManager });
    const after = await apply(object);
    expect(foreseen).toBe(after.metadata.resourceVersion !== before.metadata.resourceVersion);
    expect(applyWouldChange(object, after, { fieldManager })).toBe(false);
  });

  it("leaves others' fields alone, and puts back its own", async () => {
    const namespace = await cluster.createNamespace();
    const object = desired(namespace);
    await apply(object);
    const theirs = {
      metadata: { namespace, name: 'a', labels: { theirs: 'yes' } },
      spec: {
        jobTemplate: { spec: { template: { spec: { containers: [{ name: 'sidecar', image: 'y' }], priority: 1 } } } },
      },
    };
    const touched = await client.apply(cronJobs, theirs, {
      fieldManager: 'other',
    });
    expect(applyWouldChange(object, touched, { fieldManager })).toBe(false);

    const taken = await client.apply(
      cronJobs,
      { metadata: { namespace, name: 'a' }, spec: { schedule: '0 0 1 1 *' } },
      { fieldManager: 'other', force: true },
    );
    expect(applyWouldChange(object, taken, { fieldManager })).toBe(true);
    expect((await apply(object)).spec.schedule).toBe('1 1 1 1 *');
  });

  it("is refused with the API server's words, and a dry run writes nothing", async () => {
    const namespace = await cluster.createNamespace();
    const object = desired(namespace);
    object.spec.schedule = '61 * * * *';
    const refused = client.apply(cronJobs, object, {
      fieldManager,
      dryRun: true,
    });
    const error = await refused.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ status: 422, reason: 'Invalid', causes: [{ field: 'spec.schedule' }] });
    object.spec.schedule = '6 * * * *';
    await client.apply(cronJobs, object, { fieldManager, dryRun: true });
    expect((await client.list(cronJobs, { namespace })).items).toEqual([]);
  });

  it('stores control characters, line separators and non-characters as they are, a lone surrogate as U+FFFD', async () => {
    const namespace = await cluster.createNamespace();
    const message = 'a\u0001\u007f\u0085\u0090\u2028\u2029\ufeff\ufffe\uffffæ💾\ud800z';
    const job: ApplyConfiguration<Job> = {
      metadata: { namespace, name: 'a', annotations: { message } },
      spec: {
        suspend: true,
        template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'x' }] } },
      },
      status: { conditions: [{ type: 'Note', status: 'True', message }] },
    };
    const { status, ...rest } = job;
    const stored = await client.apply(jobs, rest, { fieldManager });
    expect(stored.metadata.annotations).toEqual({ message: message.toWellFormed() });
    const reported = await client.apply(
      jobs,
      { metadata: { namespace, name: 'a' }, status },
      // The Job's own controller writes there too.
      { fieldManager, subresource: 'status', force: true },
    );
    expect(reported.status!.conditions).toContainEqual(expect.objectContaining({ message: message.toWellFormed() }));
  });

  it('conflicts with another manager, unless forced', async () => {
    const namespace = await cluster.createNamespace();
    await apply(desired(namespace));
    const other = { metadata: { namespace, name: 'a' }, spec: { schedule: '0 0 1 1 *' } };
    const refused = client.apply(cronJobs, other, { fieldManager: 'other' });
    await expect(refused).rejects.toMatchObject({ status: 409, reason: 'Conflict' });
  });

  it('deletes only the object that is meant', async () => {
    const namespace = await cluster.createNamespace();
    const { metadata } = await apply(desired(namespace));
    const ref = { namespace, name: 'a' };
    await expect(client.delete(cronJobs, ref, { uid: owner.uid })).rejects.toMatchObject({ status: 409 });
    await client.delete(cronJobs, ref, { uid: metadata.uid! });
    await expect(client.get(cronJobs, ref)).rejects.toMatchObject({ status: 404, reason: 'NotFound' });
  });

  it('records Events that kubectl describe counts', async () => {
    const namespace = await cluster.createNamespace();
    const object = await apply(desired(namespace));
    const events = new EventRecorder({ client, log: silent, component: 'tester', instance: 'pod-1' });
    for (let index = 0; index < 3; index++) {
      events.record(object, 'Warning', 'Broken', 'It broke.');
      await events.flush();
    }
    const { stdout: described } = await cluster.kubectl(['describe', 'cronjob', 'a', '-n', namespace]);
    expect(described).toMatch(/Warning\s+Broken\s+\S+ \(x3 over \S+\)\s+tester\s+It broke\./);
  });
});
