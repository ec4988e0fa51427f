import { PatchStrategy, setHeaderOptions, type V1Pod } from '@kubernetes/client-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { runFieldManager } from '../../src/api/policy.ts';
import { resources } from '../../src/controller/objects.ts';
import { adminClient, installOperator, startController } from '../support/controller.ts';
import { runOf } from '../support/controller-objects.ts';
import { eventually, soon } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { type ProcessNode, startProcessNode } from '../support/kubernetes/process-node.ts';
import { conditionOf, Policies } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
let node: ProcessNode;
let controller: Awaited<ReturnType<typeof startController>> | undefined;
let policies: Policies;
let requestedAt: string;

/** Runners that cannot report, each in its way. */
const images = {
  'sleeping:1': ['/bin/sh', '-c', 'sleep 300'],
  'logging:1': ['/bin/sh', '-c', `echo '{"level":"error","msg":"the disk is full"}' >&2; exit 1`],
  'refusing:1': ['/bin/sh', '-c', 'echo "Secret db has no key uri" >&2; exit 2'],
  'writing:1': ['/bin/sh', '-c', 'printf "$RESULT" "$RETENTION_RUN_ID" > "$RETENTION_TERMINATION_LOG"; exit 4'],
};
const { id: _, ...partial } = runOf('cleanup', { result: 'Partial', rows: 1234, message: 'stopped at its time limit' });
images['writing:1'][2] = images['writing:1'][2]!.replace('"$RESULT"', `'${JSON.stringify({ id: '%s', ...partial })}'`);

beforeAll(async () => {
  await installOperator(cluster);
  node = await startProcessNode({ kubeConfig: cluster.kubeConfig, images });
});
afterAll(() => node?.stop());
afterEach(() => controller?.stop());

/** Runs the controller with this image for a namespace of its own, and asks for a run of a policy there. */
async function runWith(
  image: string,
  { spec = {}, labels = {} }: { spec?: object; labels?: Record<string, string> } = {},
) {
  const namespace = await cluster.createNamespace(labels);
  policies = new Policies(client, namespace);
  controller = await startController(cluster, { image, namespaces: [namespace] });
  requestedAt = await policies.ask('smartem', { ...spec });
  return namespace;
}

/** What LastRunSucceeded says, once it is False. */
async function trouble(): Promise<{ reason: string; message: string }> {
  const status = await policies.settled('smartem', 'LastRunSucceeded', 'False');
  expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'True' });
  const { reason, message } = conditionOf(status, 'LastRunSucceeded')!;
  await eventually(`an Event ${reason}`, async () => {
    const { items } = await client.list(resources.events, { namespace: policies.namespace });
    return items.some((event) => event.involvedObject.kind === 'RetentionPolicy' && event.reason === reason);
  });
  return { reason, message };
}

async function runningPod(): Promise<V1Pod> {
  return eventually('a running Pod', async () => {
    const { items } = await cluster.core.listNamespacedPod({ namespace: policies.namespace });
    return items.find(({ status, metadata }) => status?.phase === 'Running' && !metadata!.deletionTimestamp);
  });
}

/** The run, played by the test, succeeds. */
async function succeed(): Promise<void> {
  const now = new Date().toISOString();
  const lastRun = runOf('cleanup', { id: 'smartem-cleanup-later', startTime: now, completionTime: now });
  await client.apply(
    resources.policies,
    { metadata: { namespace: policies.namespace, name: 'smartem' }, status: { jobs: [{ name: 'cleanup', lastRun }] } },
    { fieldManager: runFieldManager('cleanup'), force: true, subresource: 'status' },
  );
  await policies.settled('smartem', 'LastRunSucceeded', 'True');
}

describe('a run that was killed is shown as failed, with what to do,', () => {
  const killed = async (options: { oom?: boolean }) => {
    const namespace = await runWith('sleeping:1');
    const pod = await runningPod();
    await node.kill(namespace, pod.metadata!.name!, options);
    return trouble();
  };

  it('by a signal; a success clears it', async () => {
    const { reason, message } = await killed({});
    expect(reason).toBe('RunFailed');
    expect(message).toMatch(/^cleanup: Failed: The runner was killed \(SIGKILL\)/);
    const status = await policies.settled('smartem', 'LastRunSucceeded', 'False');
    expect(status.jobs![0]!.lastRun).toMatchObject({ trigger: 'Manual', result: 'Failed', rows: 0 });
    expect(status.runs).toHaveLength(1);
    await succeed();
  });

  it('out of memory', async () => {
    expect((await killed({ oom: true })).message).toContain(
      'used up its limit of 256Mi: raise spec.runner.resources.limits.memory',
    );
  });

  it('at its deadline', async () => {
    const namespace = await runWith('sleeping:1');
    await runningPod();
    const [job] = (await client.list(resources.jobs, { namespace })).items;
    // The deadline is 15 minutes past maxDuration: too long for a test.
    await cluster.batch.patchNamespacedJob(
      { namespace, name: job!.metadata.name, body: { spec: { activeDeadlineSeconds: 1 } } },
      setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
    );
    expect((await trouble()).message).toContain('past spec.limits.maxDuration');
  });
});

describe('a run that ended without reporting', () => {
  it('left its result in its termination message', async () => {
    await runWith('writing:1');
    expect(await trouble()).toEqual({
      reason: 'RunPartial',
      message: 'cleanup: Partial: stopped at its time limit',
    });
    expect((await policies.settled('smartem', 'Ready', 'True')).lastRun).toMatchObject({
      result: 'Partial',
      rows: 1234,
    });
  });

  it('left the end of its log', async () => {
    await runWith('logging:1');
    expect((await trouble()).message).toBe(
      'cleanup: Failed: The runner ended with exit code 1 and left no result: the disk is full',
    );
  });

  it('refused its configuration', async () => {
    await runWith('refusing:1');
    expect((await trouble()).message).toContain('refused its configuration: Secret db has no key uri');
  });
});

describe('a runner that cannot start is told of while it waits,', () => {
  it('for want of its image; a success clears it', async () => {
    const namespace = await runWith('unknown:1');
    const { reason, message } = await trouble();
    expect(reason).toBe('RunnerNotStarted');
    expect(message).toContain('The image unknown:1 cannot be pulled');
    const [job] = (await client.list(resources.jobs, { namespace })).items;
    await client.delete(resources.jobs, job!.metadata);
    await succeed();
  });

  it('refused by Pod Security', async () => {
    const spec = { runner: { securityContext: { runAsNonRoot: false } } };
    await runWith('sleeping:1', { spec, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } });
    const { reason, message } = await trouble();
    expect(reason).toBe('RunnerNotStarted');
    expect(message).toContain('check spec.runner.securityContext against it (violates PodSecurity "restricted:latest"');
    expect(message).toContain('runAsNonRoot');
  });

  it('refused by a quota', async () => {
    const namespace = await runWith('sleeping:1', { spec: { suspend: true } });
    const hard = { pods: '0' };
    await cluster.core.createNamespacedResourceQuota({
      namespace,
      body: { metadata: { name: 'none' }, spec: { hard } },
    });
    // The controller that would count is not running here.
    await cluster.core.patchNamespacedResourceQuotaStatus(
      { namespace, name: 'none', body: { status: { hard, used: { pods: '0' } } } },
      setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
    );
    // An API server takes a moment to see it.
    const tried = ['run', 'tried', '--image=x', '-n', namespace, '--dry-run=server'];
    await vi.waitFor(async () => expect((await cluster.kubectl(tried)).stderr).toContain('exceeded quota'), soon);
    await policies.statusOf(
      'smartem',
      'the request to be refused',
      (status) => status.lastHandledRunRequest === requestedAt,
    );
    await policies.ask('smartem');
    expect((await trouble()).message).toContain('refused by a ResourceQuota: raise the quota');
  });
});

describe('a run with the Pod as the controller makes it', () => {
  beforeEach(() => runWith('sleeping:1', { labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } }));

  it('is admitted where the restricted standard is enforced, and goes with its policy', async () => {
    await runningPod();
    await policies.delete('smartem');
    const { namespace } = policies;
    const gone = async () => (await cluster.core.listNamespacedPod({ namespace })).items.length === 0;
    // The garbage collector looks for new kinds, such as ours, every 30 s.
    await eventually('the Pod to be gone', gone, { seconds: 75 });
  });

  it('is not reported when its node is drained, and starts again', async () => {
    const first = await runningPod();
    await node.drain(policies.namespace, first.metadata!.name!);
    const second = await eventually(
      'another Pod',
      async () => {
        const pod = await runningPod();
        return pod.metadata!.uid !== first.metadata!.uid && pod;
      },
      { seconds: 75 },
    );
    expect(second.metadata!.labels).toEqual(expect.objectContaining({ 'retention.agentdata.io/policy': 'smartem' }));
    const status = await policies.settled('smartem', 'LastRunSucceeded', 'Unknown');
    expect(status.jobs![0]).toMatchObject({ active: 1 });
    expect(status.jobs![0]!.lastRun).toBeUndefined();
  });
});
