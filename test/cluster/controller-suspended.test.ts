import { expect, it } from 'vitest';
import { runRequestedAtAnnotation, suspendAnnotation } from '../../src/api/policy.ts';
import type { RetentionPolicyStatus } from '../../src/api/status.ts';
import { resources } from '../../src/controller/objects.ts';
import { eventually } from '../support/eventually.ts';
import { reconcileAsFlux } from '../support/flux.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';
import { conditionOf, policyManifest } from '../support/policies.ts';
import { useController } from '../support/use-controller.ts';

const cluster = useCluster();
const policies = useController(cluster);
const kubectl = strictly(cluster.kubectl);

/** The command of docs/gitops.md. */
const byHand = '--field-manager=retention-by-hand';
const annotate = (value: string, ...options: string[]) =>
  kubectl(['annotate', '--overwrite', 'retpol', 'smartem', '-n', policies.namespace, value, ...options]);

const suspended = (until: string) =>
  policies.statusOf('smartem', `to be suspended until ${until}`, (status) => isSuspended(status, until));
function isSuspended(status: RetentionPolicyStatus, until: string): boolean {
  const { reason, message } = conditionOf(status, 'Ready') ?? {};
  return status.suspended === true && reason === 'Suspended' && message === `No run starts until ${until}`;
}
const scheduled = () =>
  policies.statusOf(
    'smartem',
    'to be scheduled',
    (status) => status.suspended === false && conditionOf(status, 'Ready')?.reason === 'Scheduled',
  );
const removed = `the annotation ${suspendAnnotation} is removed`;
const cronJobSuspended = async () =>
  (await policies.client.get(resources.cronJobs, { namespace: policies.namespace, name: 'smartem-cleanup' })).spec!
    .suspend;
const column = async () =>
  (await kubectl(['get', 'retpol', 'smartem', '-n', policies.namespace, '--no-headers'])).trim().split(/\s\s+/)[3];

it('an annotation suspends as spec.suspend does, in every respect, and its removal ends that', async () => {
  const { namespace, client } = policies;
  await policies.apply('smartem');
  await scheduled();
  expect(await column()).toBe('false');
  await policies.ask('smartem');
  await eventually('its Job', async () => (await client.list(resources.jobs, { namespace })).items.length === 1);

  await annotate(`${suspendAnnotation}=true`, byHand);
  await suspended(removed);
  expect(await cronJobSuspended()).toBe(true);
  expect(await column()).toBe('true');
  // No node is there: its Pod has not started.
  await eventually(
    'its Job to be gone',
    async () => (await client.list(resources.jobs, { namespace })).items.length === 0,
  );
  const at = await policies.ask('smartem');
  await policies.statusOf('smartem', 'the request', ({ lastHandledRunRequest }) => lastHandledRunRequest === at);
  expect((await client.list(resources.jobs, { namespace })).items).toEqual([]);

  await annotate(`${suspendAnnotation}-`, byHand);
  await scheduled();
  expect(await cronJobSuspended()).toBe(false);
});

it.each([
  ['true', true],
  ['', true],
  ['yes', true],
  ['false', false],
])('the annotation "%s" suspends: %s', async (value, suspends) => {
  await policies.apply('smartem', {}, { [suspendAnnotation]: value });
  await (suspends ? suspended(removed) : scheduled());
});

it('with both, both must go', async () => {
  await policies.apply('smartem', { suspend: true }, { [suspendAnnotation]: 'true' });
  await suspended(`spec.suspend is false again and ${removed}`);
  await policies.apply('smartem', {}, { [suspendAnnotation]: 'true' });
  await suspended(removed);
  await policies.apply('smartem', { suspend: true });
  await suspended('spec.suspend is false again');
});

it('Flux leaves it alone where its field manager is not kubectl’s', async () => {
  const git = policyManifest(policies.namespace, 'smartem');
  await reconcileAsFlux(cluster, git);
  await scheduled();
  // As kubectl does by itself, and so with spec.suspend: Flux undoes both.
  await annotate(`${suspendAnnotation}=true`);
  await kubectl([
    'patch',
    'retpol',
    'smartem',
    '-n',
    policies.namespace,
    '--type=merge',
    '-p',
    '{"spec":{"suspend":true}}',
  ]);
  await suspended(`spec.suspend is false again and ${removed}`);
  await reconcileAsFlux(cluster, git);
  await scheduled();

  await annotate(`${suspendAnnotation}=true`, byHand);
  await suspended(removed);
  for (const schedule of ['0 0 1 1 *', '0 4 * * *']) {
    await reconcileAsFlux(cluster, policyManifest(policies.namespace, 'smartem', { schedule }));
    await policies.statusOf(
      'smartem',
      `${schedule} to be in place, suspended`,
      (status, { metadata }) =>
        status.observedGeneration === metadata.generation &&
        status.jobs?.[0]?.schedule === schedule &&
        isSuspended(status, removed),
    );
    expect(await cronJobSuspended()).toBe(true);
  }
});

it('a request for a run is carried out once, though Flux removes it', async () => {
  const { namespace, client } = policies;
  const git = policyManifest(namespace, 'smartem');
  await reconcileAsFlux(cluster, git);
  await scheduled();
  const at = new Date().toISOString();
  await annotate(`${runRequestedAtAnnotation}=${at}`);
  await policies.statusOf('smartem', 'the request', ({ lastHandledRunRequest }) => lastHandledRunRequest === at);
  const made = (await client.list(resources.jobs, { namespace })).items.map(({ metadata }) => metadata.uid);
  expect(made).toHaveLength(1);
  await reconcileAsFlux(cluster, git);
  expect((await policies.get('smartem')).metadata.annotations ?? {}).not.toHaveProperty(runRequestedAtAnnotation);
  await reconcileAsFlux(cluster, policyManifest(namespace, 'smartem', { history: { runs: 5 } }));
  await policies.settled('smartem', 'Ready', 'True');
  expect((await client.list(resources.jobs, { namespace })).items.map(({ metadata }) => metadata.uid)).toEqual(made);
});

it.each<[string, string[]]>([
  ['by the client', []],
  ['by the server', ['--server-side', '--force-conflicts', '--field-manager=argocd-controller']],
])('Argo CD’s sync leaves it alone, applied %s', async (_, options) => {
  const sync = (schedule: string) =>
    kubectl(
      ['apply', ...options, '-f', '-'],
      JSON.stringify(policyManifest(policies.namespace, 'smartem', { schedule })),
    );
  await sync('0 3 * * *');
  await scheduled();
  await annotate(`${suspendAnnotation}=true`, byHand);
  await suspended(removed);
  await sync('0 4 * * *');
  const status = await policies.statusOf('smartem', 'the schedule', ({ jobs }) => jobs?.[0]?.schedule === '0 4 * * *');
  expect(isSuspended(status, removed)).toBe(true);
});
