import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, open, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ChildProcesses } from '../support/child-processes.ts';
import { type ControlPlane, startControlPlane } from '../support/kubernetes/control-plane.ts';
import { established } from '../support/kubernetes/established.ts';
import { type Kubectl, strictly } from '../support/kubernetes/kubectl.ts';
import { startProcessNode } from '../support/kubernetes/process-node.ts';
import { type DemoDatabase, startDemoDatabase } from './data.ts';
import { say, show, step } from './steps.ts';

const image = 'retention-operator:demo';
const runDeadlineMs = 120_000;
const keep = Boolean(process.env.KEEP);

/** What has to be stopped, last started first. */
const stops: (() => Promise<unknown>)[] = [];
const interrupted = new AbortController();

async function main(): Promise<void> {
  const database = await startDemoDatabase();
  stops.push(database.stop);
  const cluster = await step('starting a Kubernetes control plane', () => startControlPlane({ log: say }));
  stops.push(cluster.stop);
  const node = await startProcessNode({
    kubeConfig: cluster.kubeConfig,
    images: { [image]: [process.execPath, 'bin/retention.js'] },
  });
  stops.push(node.stop);
  const kubectl = strict(cluster.kubectl);

  await step('applying the CRD and the RBAC', () => kubectl(['apply', '-k', 'deploy/base']));
  await established(cluster.kubectl);
  await step('starting the controller', () => startController(cluster, kubectl));
  await applyPolicy(database, kubectl);

  const before = await database.rowCounts();
  for (const job of ['statistics', 'heartbeat', 'nightly']) await runNow(job, kubectl);

  const namespaced = ['-n', 'smartem'];
  const succeeded = ['wait', '--for=condition=LastRunSucceeded', '--timeout=60s', 'retentionpolicy/smartem'];
  await kubectl([...succeeded, ...namespaced]);
  show('kubectl get retentionpolicy -n smartem', await kubectl(['get', 'retentionpolicy', ...namespaced]));
  show('kubectl get cronjobs,jobs -n smartem', await kubectl(['get', 'cronjobs,jobs', ...namespaced]));
  const describe = ['describe', 'retentionpolicy', 'smartem', ...namespaced];
  show(`kubectl ${describe.join(' ')}`, await kubectl(describe));
  show('row counts before', before);
  show('row counts after', await database.rowCounts());
  process.stdout.write('\n');
  if (keep) await keepRunning(cluster, database);
}

/** kubectl whose failure ends the demo, and that does nothing once the demo is interrupted. */
function strict(kubectl: Kubectl): StrictKubectl {
  return async (args, input) => {
    interrupted.signal.throwIfAborted();
    return strictly(kubectl)(args, input);
  };
}
type StrictKubectl = ReturnType<typeof strictly>;

/** The controller as a process of its own, with its service account's rights and no more. */
async function startController(cluster: ControlPlane, kubectl: StrictKubectl): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'retention-demo-'));
  const token = await kubectl(['create', 'token', 'retention-controller', '-n', 'retention-system', '--duration=24h']);
  const kubeconfig = join(folder, 'controller.kubeconfig');
  const ca = Buffer.from(cluster.caPem).toString('base64');
  await writeFile(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'demo',
      clusters: [{ name: 'demo', cluster: { server: cluster.server, 'certificate-authority-data': ca } }],
      users: [{ name: 'demo', user: { token: token.trim() } }],
      contexts: [{ name: 'demo', context: { cluster: 'demo', user: 'demo' } }],
    }),
    { mode: 0o600 },
  );
  const children = new ChildProcesses(folder);
  stops.push(() => children.close());
  controllerLog = join(folder, 'controller.log');
  const log = await open(controllerLog, 'w');
  const controller = children.spawn(
    process.execPath,
    ['bin/retention.js', 'controller', '--image', image, '--port', '0'],
    {
      env: { PATH: process.env.PATH, KUBECONFIG: kubeconfig },
      stdio: ['ignore', log.fd, log.fd],
    },
  );
  await log.close();
  failWith(controller);
}

function failWith(controller: ChildProcess): void {
  void once(controller, 'exit').then(([code]) => {
    if (interrupted.signal.aborted || finished) return;
    // Its folder goes with the demo.
    const lines = readFileSync(controllerLog, 'utf8').trim().split('\n').slice(-5).join('\n');
    interrupted.abort(new Error(`the controller ended with ${code}: ${lines}`));
  });
}
let finished = false;
let controllerLog = '';

async function applyPolicy(database: DemoDatabase, kubectl: StrictKubectl): Promise<void> {
  await kubectl(['create', 'namespace', 'smartem']);
  const secret = (name: string, key: string, value: string) =>
    kubectl(
      ['apply', '-f', '-'],
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name, namespace: 'smartem' },
        stringData: { [key]: value },
      }),
    );
  await secret('smartem-db', 'uri', database.runnerUrl);
  await secret('smartem-db-ca', 'ca.crt', database.ca);
  show('kubectl apply -f deploy/samples/smartem.yaml', await kubectl(['apply', '-f', 'deploy/samples/smartem.yaml']));
  await kubectl(['wait', '-n', 'smartem', '--for=condition=Ready', '--timeout=60s', 'retentionpolicy/smartem']);
}

/** Asks for a run by annotation, as a person would, and waits for its result in the status. */
async function runNow(job: string, kubectl: StrictKubectl): Promise<void> {
  const request = new Date().toISOString();
  const annotate = [
    'annotate',
    '--overwrite',
    'retentionpolicy',
    'smartem',
    '-n',
    'smartem',
    `retention.agentdata.io/run-job=${job}`,
    `retention.agentdata.io/run-requested-at=${request}`,
  ];
  show(`kubectl ${annotate.join(' ')}`, await kubectl(annotate));
  const lastRun = `{.status.lastHandledRunRequest} {.status.jobs[?(@.name=="${job}")].lastRun.result}`;
  const deadline = Date.now() + runDeadlineMs;
  await step(`waiting for the run of ${job}`, async () => {
    for (;;) {
      const seen = await kubectl(['get', 'retentionpolicy', 'smartem', '-n', 'smartem', '-o', `jsonpath=${lastRun}`]);
      const [handled, result] = seen.split(' ');
      if (handled === request && result) return;
      if (Date.now() > deadline) throw new Error(`the run of ${job} has not been reported within ${runDeadlineMs} ms`);
      await sleep(200, undefined, { signal: interrupted.signal });
    }
  });
}

async function keepRunning(cluster: ControlPlane, database: DemoDatabase): Promise<void> {
  const caFile = join(dirname(cluster.kubeconfigPath), 'database-ca.crt');
  await writeFile(caFile, database.ca);
  process.stdout.write(
    `export KUBECONFIG=${cluster.kubeconfigPath}
export DATABASE_URL='${database.adminUrl}' PGSSLROOTCERT=${caFile}
npx retention stats --database-url "$DATABASE_URL"

The controller's log is ${controllerLog}. Runner Pods are plain processes here: kubectl logs has nothing of them.
It runs on until Ctrl-C.
`,
  );
  await once(interrupted.signal, 'abort');
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => interrupted.abort(new Error(`stopped by ${signal}`)));
}
try {
  // An interruption ends the demo at once; what it was waiting for is stopped below.
  const interruption = once(interrupted.signal, 'abort').then(() => {
    throw interrupted.signal.reason;
  });
  await Promise.race([main(), interruption]);
  finished = true;
} catch (error) {
  process.exitCode = keep && interrupted.signal.aborted ? 0 : 1;
  if (!process.exitCode) say('stopping');
  else process.stderr.write(`demo: ${(error as Error).message}\n`);
} finally {
  finished = true;
  for (const stop of stops.reverse()) await stop().catch((error: Error) => process.stderr.write(`${error.message}\n`));
  process.exit();
}
