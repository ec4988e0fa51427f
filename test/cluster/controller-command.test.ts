import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { afterEach, expect, it } from 'vitest';
import { initialStatus } from '../../src/api/status.ts';
import { resources } from '../../src/controller/objects.ts';
import { adminClient, installOperator } from '../support/controller.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { Policies } from '../support/policies.ts';

const cluster = useCluster();
let end: (() => void) | undefined;
afterEach(() => end?.());

function run(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['bin/retention.js', 'controller', '--port', '0', ...args], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  end = () => child.kill('SIGKILL');
  const ended = Promise.all([once(child, 'exit'), text(child.stderr)]);
  return { child, ended: ended.then(([[code, signal], stderr]) => ({ code, signal, stderr })) };
}

it('`retention controller` works by its kubeconfig, in the namespaces it is given, until SIGTERM', async () => {
  await installOperator(cluster);
  const client = adminClient(cluster);
  const [here, there, elsewhere] = [
    new Policies(client, await cluster.createNamespace()),
    new Policies(client, await cluster.createNamespace()),
    new Policies(client, await cluster.createNamespace()),
  ];
  const runner = { labels: { team: 'em', 'cost.example.com/centre': '7' } };
  for (const policies of [here, there, elsewhere]) await policies.apply('smartem', { runner });
  const { child, ended } = run(
    ['--namespace', `${here.namespace}, ${there.namespace}`, '--namespace', here.namespace],
    {
      KUBECONFIG: cluster.kubeconfigPath,
      RETENTION_RUNNER_IMAGE: 'example.com/retention:7',
      RETENTION_RUNNER_IMAGE_PULL_POLICY: 'Always',
      RETENTION_ALLOWED_LABELS: 'team, cost.example.com/',
    },
  );
  for (const policies of [here, there]) {
    await policies.settled('smartem', 'Ready', 'True');
    const { namespace } = policies;
    const { spec } = await client.get(resources.cronJobs, { namespace, name: 'smartem-cleanup' });
    expect(spec!.jobTemplate.spec!.template.spec!.containers[0]).toMatchObject({
      image: 'example.com/retention:7',
      imagePullPolicy: 'Always',
    });
  }
  child.kill('SIGTERM');
  const { code, signal, stderr } = await ended;
  expect({ code, signal }).toEqual({ code: 0, signal: null });
  expect((await elsewhere.get('smartem')).status).toEqual(initialStatus);
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  for (const line of lines) expect(line).toHaveProperty('msg');
  // The namespace that was given twice is watched once.
  const { kinds } = lines.find((line) => line.kinds);
  expect(kinds.filter((kind: string) => kind === 'CronJob')).toHaveLength(2);
});

it.each([
  [[], {}, "required option '--image <name>' not specified"],
  [['--image', 'x', '--image-pull-policy', 'Sometimes'], {}, 'Allowed choices are Always, IfNotPresent, Never'],
  [['--image', 'x', '--namespace', 'lab,Lab_2'], {}, '"Lab_2" is no name of a namespace'],
  [['--image', 'x'], { RETENTION_NAMESPACES: 'lab-' }, '"lab-" is no name of a namespace'],
  [['--image', 'x', '--allow-labels', 'team,*'], {}, '"*" is no name, and no beginning of a key'],
  [['--image', 'x'], { RETENTION_ALLOWED_PRIORITY_CLASSES: 'a b' }, '"a b" is no name'],
  [['--image', 'x'], { KUBECONFIG: '/no/such/file' }, '/no/such/file'],
])('`retention controller %j` says what is wrong, and ends with 2', async (args, env, words) => {
  const { code, stderr } = await run(args, env).ended;
  expect(stderr).toContain(words);
  expect(code).toBe(2);
});
