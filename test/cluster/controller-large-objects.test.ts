import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { jobLabel, policyLabel } from '../../src/api/policy.ts';
import { resources } from '../../src/controller/objects.ts';
import { adminClient, installOperator, runnerImage, startController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';
import { recordingLog } from '../support/log.ts';
import { conditionOf, Policies, policyManifest } from '../support/policies.ts';

const cluster = useCluster();
const admin = adminClient(cluster);
/** Somebody's namespace, and another that must not notice. */
const [theirs, others] = [new Policies(admin, ''), new Policies(admin, '')];
const { log, lines } = recordingLog();
let controller: Awaited<ReturnType<typeof startController>>;

const start = async () => {
  // Relists are what failed.
  controller = await startController(cluster, { log, relistMs: 1000 });
};
beforeAll(async () => {
  await installOperator(cluster);
  await start();
});
afterAll(() => controller?.stop());
beforeEach(async () => {
  lines.length = 0;
  theirs.namespace = await cluster.createNamespace();
  others.namespace = await cluster.createNamespace();
  await others.apply('healthy');
  await others.settled('healthy', 'Ready', 'True');
});

interface Schema {
  properties: Record<string, Schema>;
}

/** The CRD of release 0.1.0, whose affinity took anything, and whose status takes anything here too. */
async function installFormerCrd(): Promise<void> {
  const text = readFileSync(new URL('fixtures/0.1.0/crd.yaml', import.meta.url), 'utf8');
  const crd = parse(text) as { spec: { versions: { schema: { openAPIV3Schema: Schema } }[] } };
  const { status } = crd.spec.versions[0]!.schema.openAPIV3Schema.properties;
  Object.assign(status!, { 'x-kubernetes-preserve-unknown-fields': true });
  await strictly(cluster.kubectl)(['apply', '--server-side', '--force-conflicts', '-f', '-'], stringify(crd));
}

const deep = `${'{"a":'.repeat(9_900)}1${'}'.repeat(9_900)}`;
const path = (kind: string) => `${kind}/namespaces/${theirs.namespace}`;
const policiesPath = () => `${path('/apis/retention.agentdata.io/v1alpha1')}/retentionpolicies`;
/** Creates an object in which the text "deep" is nested 9,900 deep. */
const create = (collection: string, object: object) =>
  cluster.kubectl(['create', '--raw', collection, '-f', '-'], {
    input: JSON.stringify(object).replaceAll('"deep"', deep),
  });

/** That what is done in another namespace still takes effect, before and after a restart of the controller. */
async function expectOthersAreServed(): Promise<void> {
  const suspended = () => admin.get(resources.cronJobs, { namespace: others.namespace, name: 'healthy-cleanup' });
  for (const suspend of [true, false, true]) {
    await others.apply('healthy', { suspend });
    await eventually(`suspend: ${suspend}`, async () => (await suspended()).spec!.suspend === suspend);
    if (suspend) continue;
    await controller.stop();
    await start();
  }
  await others.apply('new', { database: { secretRef: { name: 'another' } } });
  await others.settled('new', 'Ready', 'True');
  const failed = lines.filter(({ message, details }) => {
    if (message.startsWith('reconcile failed')) return (details as { key: string }).key.startsWith(theirs.namespace);
    return /list and watch failed|cannot be kept/.test(message);
  });
  expect(failed).toEqual([]);
}

describe('a policy stored under the CRD of release 0.1.0', () => {
  afterEach(() => installOperator(cluster));

  it.each([
    ['with an affinity 9,900 deep', 'deep', /the spec is nested more than 64 deep: make it smaller$/],
    ['of 1.3 MB', { text: 'x'.repeat(1_300_000) }, /the spec takes more than 512 KiB: make it smaller$/],
    ['of 200 KB', { text: 'x'.repeat(200_000) }, /the spec has 200\d{3} bytes of JSON, and may have 102400/],
  ])('%s is Stalled and costs only itself, under today’s CRD too', async (_, affinity, words) => {
    await installFormerCrd();
    const manifest = policyManifest(theirs.namespace, 'bad', { runner: { affinity: { affinity } } });
    await eventually('the bad policy to be stored', async () => {
      const { code } = await create(policiesPath(), manifest);
      const { spec, omitted } = code === 0 ? await theirs.get('bad') : {};
      if (omitted || JSON.stringify(spec ?? '').length > 100_000) return true;
      await theirs.delete('bad').catch(() => {});
      return false;
    });
    const stalled = await theirs.settled('bad', 'Stalled', 'True');
    expect(conditionOf(stalled, 'Stalled')!.message).toMatch(words);
    await expectOthersAreServed();

    await installOperator(cluster);
    await expectOthersAreServed();
    await theirs.apply('bad');
    await theirs.settled('bad', 'Ready', 'True');
  });

  it('whose status somebody has filled 9,900 deep gets a new one, and costs only itself', async () => {
    await theirs.apply('bad');
    await theirs.settled('bad', 'Ready', 'True');
    await installFormerCrd();
    const merge = (more: unknown) =>
      strictly(cluster.kubectl)([
        ...['patch', 'retpol', 'bad', '-n', theirs.namespace, '--subresource=status', '--type=merge'],
        ...['-o', 'jsonpath={.status.more}', '-p', JSON.stringify({ status: { more } }).replaceAll('"deep"', deep)],
      ]);
    await eventually('a status of any form to be taken', async () => (await merge({ any: 'form' })) !== '');
    await merge('deep');
    await eventually('it to be seen', async () =>
      lines.some(({ message }) => message.includes('the status cannot be read')),
    );
    await theirs.settled('bad', 'Ready', 'True');
    expect(await theirs.get('bad')).not.toHaveProperty('omitted.status');
    await expectOthersAreServed();
  });
});

describe('under today’s CRD', () => {
  it('the API server takes no deep affinity', async () => {
    const manifest = policyManifest(theirs.namespace, 'bad', { runner: { affinity: { nodeAffinity: 'deep' } } });
    expect(await create(policiesPath(), manifest)).toMatchObject({ code: 0 });
    expect((await theirs.get('bad')).spec).toMatchObject({ runner: { affinity: { nodeAffinity: {} } } });
    await theirs.settled('bad', 'Ready', 'True');
  });

  it('annotations of 250 KB and managedFields of many managers cost nothing', async () => {
    const annotations = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`example.io/${n}`, 'x'.repeat(4000)]));
    await theirs.apply('large', {}, annotations);
    for (let manager = 0; manager < 5; manager += 1) {
      const { metadata, ...manifest } = policyManifest(theirs.namespace, 'large');
      const config = { ...manifest, metadata: { ...metadata, annotations } };
      await admin.apply(resources.policies, config, { fieldManager: `manager-${manager}`, force: true });
    }
    await theirs.settled('large', 'Ready', 'True');
    await expectOthersAreServed();
  });

  it('a Job and a Pod of 1 MB that another user gives the policy’s labels cost nothing', async () => {
    await theirs.apply('smartem');
    await theirs.settled('smartem', 'Ready', 'True');
    const labels = { [policyLabel]: 'smartem', [jobLabel]: 'cleanup' };
    const env = Array.from({ length: 10 }, (_, n) => ({ name: `E${n}`, value: 'x'.repeat(100_000) }));
    const metadata = { namespace: theirs.namespace, name: 'strange', labels };
    const spec = { restartPolicy: 'Never', containers: [{ name: 'runner', image: runnerImage, env }] };
    const job = { apiVersion: 'batch/v1', kind: 'Job', metadata, spec: { suspend: true, template: { spec } } };
    expect(await create(`${path('/apis/batch/v1')}/jobs`, job)).toMatchObject({ code: 0 });
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec };
    expect(await create(`${path('/api/v1')}/pods`, pod)).toMatchObject({ code: 0 });
    await eventually('both to be seen', async () => {
      const told = lines.filter(({ message }) => message.includes('are not kept')).map(({ details }) => details);
      return ['Job', 'Pod'].every((kind) => told.some((each) => 'kind' in each && each.kind === kind));
    });
    await theirs.apply('smartem', { suspend: true });
    await theirs.settled('smartem', 'Ready', 'True');
    await expectOthersAreServed();
  });

  it('a CronJob of the policy’s that somebody makes too large is suspended all the same', async () => {
    await theirs.apply('smartem');
    await theirs.settled('smartem', 'Ready', 'True');
    const env = Array.from({ length: 10 }, (_, n) => ({ name: `E${n}`, value: 'x'.repeat(100_000) }));
    const spec = { containers: [{ name: 'another', image: runnerImage, env }] };
    const ref = { namespace: theirs.namespace, name: 'smartem-cleanup' };
    const config = { metadata: ref, spec: { jobTemplate: { spec: { template: { spec } } } } };
    await admin.apply(resources.cronJobs, config as never, { fieldManager: 'somebody', force: true });
    await theirs.apply('smartem', { suspend: true });
    await eventually('it to be suspended', async () => {
      const { stdout } = await cluster.kubectl([
        'get',
        'cronjob',
        ref.name,
        '-n',
        ref.namespace,
        '-o',
        'jsonpath={.spec.suspend}',
      ]);
      return stdout === 'true';
    });
    await expectOthersAreServed();
  });
});
