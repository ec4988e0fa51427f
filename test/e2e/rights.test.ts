import { beforeAll, describe, expect, test } from 'vitest';
import { policyLabel } from '../../src/api/policy.ts';
import { runnerPaths } from '../../src/api/run-request.ts';
import type { ApiError } from '../../src/kubernetes/api-error.ts';
import type { Client } from '../../src/kubernetes/client.ts';
import { addConnection } from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { bearerClient, forbidden, reportStatus } from '../support/runner-rights.ts';
import { createLab, install, type Lab } from './installation.ts';

const cluster = useCluster();
let lab: Lab;
let pod: string;

/** A run that waits for an hour between its first batch and its second. */
beforeAll(async () => {
  await install(cluster);
  lab = await createLab(cluster);
  const { runs, server } = lab;
  for (const name of ['own', 'other']) {
    const database = await server.createDatabase();
    for (let i = 0; i < 2; i++) await addConnection(database.pool);
    await runs.applySecret(`${name}-db`, database.login);
    await runs.applyPolicy(name, {
      jobs: [{ name: 'cleanup', operations: ['connections'] }],
      retention: { batchSize: 1 },
      limits: { pauseBetweenBatches: '1h' },
    });
  }
  pod = await runs.runningPod((await runs.request('own')).metadata!.name!);
});

describe('the token in a runner’s Pod', () => {
  let client: Client;

  beforeAll(async () => {
    const file = `${runnerPaths.serviceAccountDirectory}/token`;
    const program = ['/usr/local/bin/node', '-p', `require('node:fs').readFileSync('${file}', 'utf8')`];
    const token = (await lab.runs.kubectl(['exec', pod, '--', ...program])).trim();
    client = bearerClient(cluster.kubeConfig, token);
  });

  test('may write the status of its policy', async () => {
    await reportStatus(client, { namespace: lab.runs.namespace, name: 'own' }, { dryRun: true });
  });

  test.for(forbidden)('may not %s', async ([, attempt]) => {
    const error = await attempt(client, { namespace: lab.runs.namespace, name: 'own', other: 'other' }).then(
      () => undefined,
      (thrown: ApiError) => thrown,
    );
    expect(error).toMatchObject({ name: 'ApiError', status: 403, reason: 'Forbidden' });
  });
});

test('a policy deleted in the middle of its run leaves nothing behind', async () => {
  const { runs } = lab;
  const kinds = 'cronjobs,jobs,pods,serviceaccounts,roles,rolebindings';
  const left = (policy: string) =>
    runs.kubectl(['get', kinds, '-l', `${policyLabel}=${policy}`, '-o', 'name', '--ignore-not-found']);
  for (const kind of ['cronjob', 'job', 'pod', 'serviceaccount', 'role', 'rolebinding']) {
    expect(await left('own')).toContain(kind);
  }
  await runs.kubectl(['delete', 'retentionpolicy', 'own']);
  // The garbage collector learns of a new CRD only every 30 s; a Pod that is told to stop has 30 s more.
  await eventually('nothing of the policy to be left', async () => (await left('own')) === '', { seconds: 120 });
  expect(await left('other'), 'what belongs to another policy').toContain('cronjob');
});
