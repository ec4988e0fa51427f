import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import { resources } from '../../src/controller/objects.ts';
import { adminClient, installOperator } from '../support/controller.ts';
import { helm } from '../support/deploy/helm.ts';
import { type PolicyStateName, policyStates } from '../support/deploy/policy-states.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { Policies, policyManifest } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
beforeAll(() => installOperator(cluster));

/** Installs a policy that has this status already, and waits for it as Flux does, by kstatus: both use its code. */
async function waited(name: PolicyStateName, timeout: string): Promise<string> {
  const namespace = await cluster.createNamespace();
  const { metadata, status } = policyStates[name] as (typeof policyStates)['healthy'];
  const policies = new Policies(client, namespace);
  const { metadata: stored } = await policies.apply('smartem');
  if (status) {
    const observedGeneration = stored.generation! - (metadata.generation - status.observedGeneration);
    const patch = { status: { ...status, observedGeneration } };
    const args = ['patch', 'retpol', 'smartem', '-n', namespace, '--subresource=status', '--type=merge', '-p'];
    expect(await cluster.kubectl([...args, JSON.stringify(patch)])).toMatchObject({ code: 0 });
  }

  const folder = await mkdtemp(join(tmpdir(), 'retention-kstatus-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'templates'));
  await writeFile(join(folder, 'Chart.yaml'), stringify({ apiVersion: 'v2', name: 'policy', version: '1.0.0' }));
  await writeFile(join(folder, 'templates/policy.yaml'), stringify(policyManifest(namespace, 'smartem')));
  const args = [
    'install',
    'policy',
    folder,
    '-n',
    namespace,
    '--take-ownership',
    '--wait=watcher',
    `--timeout=${timeout}`,
  ];
  const env = { KUBECONFIG: cluster.kubeconfigPath };
  const result = await helm([...args, '--force-conflicts'], env).catch((error: Error) => error.message);
  expect((await client.get(resources.policies, { namespace, name: 'smartem' })).metadata.generation).toBe(1);
  return result;
}

const waits = /context deadline exceeded/;
const ready = /STATUS: deployed/;

test.for<[PolicyStateName, RegExp]>([
  ['new', waits],
  ['changed', waits],
  ['retrying', waits],
  ['stalled', /resource RetentionPolicy.*smartem.*Failed/],
  ['healthy', ready],
  ['before its first run', ready],
  ['with a failing run', ready],
  ['overdue', ready],
  ['suspended', ready],
])('who waits by kstatus, as Flux and Helm do, takes a policy that is %s for what it is', async ([name, words]) => {
  expect(await waited(name, words === waits ? '4s' : '60s')).toMatch(words);
});
