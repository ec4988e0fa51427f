import { beforeAll, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import { adminClient, installOperator, startController } from '../support/controller.ts';
import { eventually, soon } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';
import { recordingLog } from '../support/log.ts';
import { Policies } from '../support/policies.ts';

const cluster = useCluster();
const admin = adminClient(cluster);
const [a, b] = [new Policies(admin, ''), new Policies(admin, '')];
const kubectl = strictly(cluster.kubectl);

beforeAll(() => installOperator(cluster));
beforeEach(async () => {
  a.namespace = await cluster.createNamespace();
  b.namespace = await cluster.createNamespace();
  await kubectl(['create', 'serviceaccount', 'limited', '-n', a.namespace]);
  await grant(a);
  await grant(b);
});

/** The controller's rights in this namespace alone, as the chart gives them with `controller.namespaces`. */
async function grant({ namespace }: Policies): Promise<void> {
  const account = `--serviceaccount=${a.namespace}:limited`;
  await kubectl(['create', 'rolebinding', 'limited', '-n', namespace, '--clusterrole=retention-controller', account]);
}

async function revoke({ namespace }: Policies): Promise<void> {
  await kubectl(['delete', 'rolebinding', 'limited', '-n', namespace]);
  const account = `--as=system:serviceaccount:${a.namespace}:limited`;
  const may = ['auth', 'can-i', 'list', 'retentionpolicies', '-n', namespace, account];
  // An API server takes a moment to see it.
  await vi.waitFor(async () => expect((await cluster.kubectl(may)).stdout.trim()).toBe('no'), soon);
}

async function start() {
  const token = (await kubectl(['create', 'token', 'limited', '-n', a.namespace])).trim();
  const { server, options } = connectionFromKubeconfig(cluster.kubeconfigPath);
  const headers = { authorization: `Bearer ${token}` };
  const connection = { server, options: async () => ({ ca: (await options()).ca, headers }) };
  const { log, lines } = recordingLog();
  const listening = Promise.withResolvers<number>();
  const info: typeof log.info = (details, message) => {
    if ('port' in details) listening.resolve(details.port as number);
    log.info(details, message);
  };
  const namespaces = [a.namespace, b.namespace];
  const controller = await startController(cluster, {
    connection,
    namespaces,
    log: { ...log, info },
    port: 0,
    relistMs: 1000,
  });
  onTestFinished(() => controller.stop());
  const address = `http://127.0.0.1:${await listening.promise}`;
  const ask = async (path: string) => {
    const answer = await fetch(address + path);
    return { status: answer.status, text: await answer.text() };
  };
  const available = async () => {
    const { text } = await ask('/metrics');
    return namespaces.map((each) => text.includes(`namespace_available{namespace="${each}"} 1`));
  };
  return { lines, ask, available };
}

it('a namespace whose Role is gone holds up no other, is named, and is worked in again when it comes back', async () => {
  await revoke(b);
  await a.apply('smartem');
  await b.apply('smartem');
  const { lines, ask, available } = await start();
  await a.settled('smartem', 'Ready', 'True');
  expect(await ask('/healthz')).toMatchObject({ status: 200 });
  expect(await ask('/readyz')).toMatchObject({
    status: 200,
    text: expect.stringContaining(`no list of RetentionPolicy in namespace ${b.namespace} (403)`),
  });
  expect(await available()).toEqual([true, false]);
  await eventually('the log to name it', async () =>
    lines.some(({ details }) => 'namespace' in details && details.namespace === b.namespace),
  );
  expect((await b.get('smartem')).status).toEqual({ observedGeneration: -1 });

  await grant(b);
  // It is asked for again every 30 s by then.
  await eventually('both to be available', async () => !(await available()).includes(false), { seconds: 60 });
  await b.settled('smartem', 'Ready', 'True');
  expect(await ask('/readyz')).toMatchObject({ status: 200, text: 'ok\n' });
});

it('a namespace where one kind alone cannot be read is left alone: nothing is done on half of what there is', async () => {
  const rules = ['--verb=get,list,watch,create,patch,delete', '--resource=retentionpolicies,cronjobs,jobs'];
  await revoke(b);
  await kubectl(['create', 'role', 'half', '-n', b.namespace, ...rules]);
  await kubectl([
    'create',
    'rolebinding',
    'half',
    '-n',
    b.namespace,
    '--role=half',
    `--serviceaccount=${a.namespace}:limited`,
  ]);
  const { ask } = await start();
  await a.apply('smartem');
  await b.apply('smartem');
  await a.settled('smartem', 'Ready', 'True');
  // An API server takes a moment to see the Role.
  const words = /^ok; no list of Pod in namespace \S+ \(403\)/;
  await vi.waitFor(async () => expect((await ask('/readyz')).text).toMatch(words), soon);
  expect((await b.get('smartem')).status).toEqual({ observedGeneration: -1 });
  const { stdout } = await cluster.kubectl(['get', 'cronjobs', '-n', b.namespace, '-o', 'name']);
  expect(stdout).toBe('');
});

it('a Role that goes, or a namespace that is deleted, while the controller runs holds up no other', async () => {
  const { ask } = await start();
  await b.apply('smartem');
  await b.settled('smartem', 'Ready', 'True');
  await revoke(b);
  await cluster.core.deleteNamespace({ name: b.namespace });
  await a.apply('smartem');
  await a.settled('smartem', 'Ready', 'True');
  await a.apply('smartem', { suspend: true });
  await a.statusOf('smartem', 'to be suspended', ({ conditions }) =>
    conditions?.some(({ type, reason }) => type === 'Ready' && reason === 'Suspended'),
  );
  expect([(await ask('/healthz')).status, (await ask('/readyz')).status]).toEqual([200, 200]);
});

it('a controller that has rights in none of its namespaces is not ready, and names them all', async () => {
  for (const policies of [a, b]) await revoke(policies);
  const { ask } = await start();
  await vi.waitFor(async () => {
    const readiness = await ask('/readyz');
    expect(readiness.status).toBe(503);
    for (const { namespace } of [a, b]) expect(readiness.text).toMatch(new RegExp(`${namespace} \\(403\\)`));
  }, soon);
});
