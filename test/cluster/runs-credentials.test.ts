import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { AuthorizationV1Api, KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resources } from '../../src/controller/objects.ts';
import type { ApiError } from '../../src/kubernetes/api-error.ts';
import type { Client } from '../../src/kubernetes/client.ts';
import { addConnection } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { type Login, type RunServer, runPassword, startRunServer, uriOf } from '../support/postgres/run-database.ts';
import { bearerClient, forbidden, reportStatus } from '../support/runner-rights.ts';
import { Runs } from '../support/runs.ts';

const cluster = useCluster();
let server: RunServer;
let runs: Runs;

beforeAll(async () => {
  [server, runs] = await Promise.all([startRunServer(), Runs.start(cluster)]);
});

afterAll(async () => {
  await runs?.stop();
  await server?.stop();
});

const jobs = [{ name: 'cleanup', operations: ['connections'] }];

/** A policy with a database that has two rows due, and with this Secret. */
async function applyPolicy(name: string, secret: (login: Login) => object, spec: Record<string, unknown> = {}) {
  const database = await server.createDatabase();
  for (let i = 0; i < 2; i++) await addConnection(database.pool);
  await runs.applySecret(`${name}-db`, secret(database.login));
  await runs.applyPolicy(name, { jobs, ...spec });
}

/** Stops between its first batch and its second. */
const pausing = { retention: { batchSize: 1 }, limits: { pauseBetweenBatches: '1h' } };

async function runningPod(name: string): Promise<string> {
  return runs.runningPod((await runs.request(name)).metadata!.name!);
}

describe('a running Pod has a token', () => {
  let client: Client;
  let token: string;

  beforeAll(async () => {
    await applyPolicy('own', (login) => login, pausing);
    await applyPolicy('other', (login) => login);
    const pod = await runningPod('own');
    const bound = ['--bound-object-kind=Pod', `--bound-object-name=${pod}`];
    token = (await runs.kubectl(['create', 'token', 'retention-own', ...bound])).trim();
    client = bearerClient(cluster.kubeConfig, token);
  });

  test('that may patch the status of its policy', async () => {
    await reportStatus(client, { name: 'own', namespace: runs.namespace }, { dryRun: true });
  });

  test('whose rights are that and, beyond what everybody has, nothing else', async () => {
    const rules = async (bearer: string) => {
      const config = new KubeConfig();
      const { name, server: url, caData, skipTLSVerify } = cluster.kubeConfig.getCurrentCluster()!;
      config.loadFromClusterAndUser({ name, server: url, caData, skipTLSVerify }, { name: 'token', token: bearer });
      const review = { spec: { namespace: runs.namespace } };
      const { status } = await config.makeApiClient(AuthorizationV1Api).createSelfSubjectRulesReview({
        body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview', ...review },
      });
      return status!.resourceRules.map((rule) => JSON.stringify(rule));
    };
    const everybody = await rules((await runs.kubectl(['create', 'token', 'default'])).trim());
    expect(everybody.length).toBeGreaterThan(0);
    const own = (await rules(token)).filter((rule) => !everybody.includes(rule)).map((rule) => JSON.parse(rule));
    expect(own).toEqual([
      {
        apiGroups: ['retention.agentdata.io'],
        resources: ['retentionpolicies/status'],
        resourceNames: ['own'],
        verbs: ['patch'],
      },
    ]);
  });

  test('that shows all of its policy to whoever patches nothing into the status, and of another policy nothing', async () => {
    const look = (name: string) => {
      const options = { fieldManager: 'tried', subresource: 'status' } as const;
      return client.mergePatch(resources.policies, { namespace: runs.namespace, name }, {}, options);
    };
    const policy = await runs.policies.get('own');
    expect(await look('own')).toMatchObject({ spec: policy.spec, metadata: { uid: policy.metadata.uid } });
    await expect(look('other')).rejects.toMatchObject({ status: 403 });
  });

  test.for(forbidden)('that may not %s', async ([, attempt]) => {
    const error = await attempt(client, { namespace: runs.namespace, name: 'own', other: 'other' }).then(
      () => undefined,
      (thrown: ApiError) => thrown,
    );
    expect(error).toMatchObject({ name: 'ApiError', status: 403, reason: 'Forbidden' });
  });
});

/** What other values of a Secret are, and the name of a key that no run looks for. */
const mark = 'sk-live-51';

describe('what is in a Secret', () => {
  /** As it is, and as it travels in a URI, in JSON and in a Secret. */
  const forms = [
    mark,
    runPassword,
    encodeURIComponent(runPassword),
    encodeURI(runPassword),
    JSON.stringify(runPassword).slice(1, -1),
    Buffer.from(runPassword).toString('base64'),
    runPassword.split('@')[0]!,
    runPassword.slice(-8),
  ];
  const found = (text: string) => forms.filter((form) => text.includes(form));

  // A server that may come is waited for.
  test('is in no status, Event, object, log or command line, however a run ends', async () => {
    const broken = { pw: runPassword };
    const secrets: Record<string, (login: Login) => object> = {
      succeeds: (login) => ({ uri: uriOf(login) }),
      refused: (login) => ({ ...login, user: 'nobody-of-that-name' }),
      'wrong-uri': ({ host }) => ({ uri: `postgresql://user:${runPassword}@${host}/agents` }),
      'not-encoded': ({ host }) => ({ uri: `postgresql://user:1?${runPassword}@${host}/agents` }),
      'wrong-scheme': (login) => ({ uri: uriOf(login).replace('postgresql', 'mysql') }),
      'wrong-parameter': (login) => ({ uri: `${uriOf(login)}?passfile=${encodeURIComponent(runPassword)}` }),
      'wrong-sslmode': (login) => ({ uri: `${uriOf(login)}?sslmode=prefer` }),
      'wrong-port': (login) => ({ ...login, port: 'none' }),
      'wrong-key': () => broken,
      unreachable: (login) => ({ uri: uriOf({ ...login, port: '1' }) }),
      'every-key': (login) => Object.fromEntries(Object.keys(login).map((key) => [key, `${runPassword}-${key}`])),
      'unknown-host': (login) => ({ ...login, host: `${mark}.invalid`, [`${mark}_key`]: mark }),
      'unknown-user': (login) => ({ ...login, user: mark }),
      'unknown-database': (login) => ({ ...login, dbname: mark }),
      'unknown-parameter': (login) => ({ uri: `${uriOf(login)}?${mark}=${mark}` }),
      'unknown-option': (login) => ({ ...login, options: `-c lock_timeout=${mark}` }),
    };
    const ended = Object.entries(secrets).map(async ([name, secret]) => {
      await applyPolicy(name, secret);
      // All at once, on a machine of few cores.
      const { run } = await runs.runNow(name, 'cleanup', { seconds: 150 });
      expect(run.result, name).toBe(name === 'succeeds' ? 'Succeeded' : 'Failed');
      return run.id;
    });
    const killed = async () => {
      await applyPolicy('killed', (login) => ({ uri: uriOf(login) }), pausing);
      const pod = await runningPod('killed');
      await eventually('the first batch', async () =>
        (await runs.node.logs(runs.namespace, pod)).includes('run starts'),
      );
      const pid = String(runs.node.pid(runs.namespace, pod));
      const { stdout: commandLines } = await promisify(execFile)('ps', ['-ww', '-e', '-o', 'pid=,args=']);
      const own = commandLines.split('\n').filter((line) => line.trim().startsWith(`${pid} `));
      expect(own.join()).toContain('bin/retention.js run');
      expect(found(commandLines)).toEqual([]);
      await runs.node.kill(runs.namespace, pod);
      const [job] = await runs.jobs('killed');
      await runs.result('killed', job!.metadata!.name!, { seconds: 150 });
      return job!.metadata!.name!;
    };
    const ids = await Promise.all([...ended, killed()]);

    const kinds = 'retentionpolicies,cronjobs,jobs,pods,events,serviceaccounts,roles,rolebindings,configmaps';
    const objects = await runs.kubectl(['get', kinds, '-o', 'json', '--show-managed-fields']);
    for (const id of ids) expect(objects, 'the run left its traces').toContain(id);
    expect(found(objects)).toEqual([]);
    expect(found(runs.controllerLog)).toEqual([]);
    expect(runs.controllerLog).toContain('RetentionPolicy');
    for (const id of ids) {
      const [pod] = await runs.pods(id);
      const log = await runs.node.logs(runs.namespace, pod!.metadata!.name!);
      expect(log).toContain('run starts');
      expect(found(log), `log of ${id}`).toEqual([]);
    }
    // The search finds what is there.
    expect(found(await runs.kubectl(['get', 'secrets', '-o', 'json'])).length).toBeGreaterThan(0);
  }, 300_000);
});
