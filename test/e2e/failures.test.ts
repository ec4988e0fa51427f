import { beforeAll, expect, inject, test } from 'vitest';
import { addConnection } from '../support/data/due-rows.ts';
import { namespace } from '../support/deploy/helm.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { strictly } from '../support/kubernetes/kubectl.ts';
import { conditionOf } from '../support/policies.ts';
import { createLab, install, type Lab } from './installation.ts';

const cluster = useCluster();
let lab: Lab;

beforeAll(async () => {
  await install(cluster);
  lab = await createLab(cluster);
});

/** A policy with a database that has one row due; `secret` is what is in its Secret. */
async function applyPolicy(name: string, secret: Record<string, string> = {}, spec: Record<string, unknown> = {}) {
  const database = await lab.server.createDatabase();
  await addConnection(database.pool);
  await lab.runs.applySecret(`${name}-db`, { ...database.login, ...secret });
  await lab.runs.applyPolicy(name, { jobs: [{ name: 'cleanup', operations: ['connections'] }], ...spec });
  return database;
}

async function expectFailure(name: string, id: string, words: RegExp): Promise<void> {
  const { run, status } = await lab.runs.result(name, id, { seconds: 90 });
  expect(run).toMatchObject({ result: 'Failed', rows: 0 });
  expect(run.message).toMatch(words);
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'False', reason: 'RunFailed' });
  await lab.runs.event(name, 'RunFailed', words);
  expect(await lab.runs.columns(name)).toMatchObject({
    READY: 'True',
    RESULT: 'Failed',
  });
}

async function expectSuccess(name: string): Promise<void> {
  const { run, status } = await lab.runs.runNow(name, 'cleanup', { seconds: 90 });
  expect(run).toMatchObject({ result: 'Succeeded', rows: 1 });
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
}

const request = async (name: string) => (await lab.runs.request(name)).metadata!.name!;

test('a wrong password: the run fails with words, and succeeds with the right one', async () => {
  const database = await applyPolicy('password', { password: 'not the one' });
  await expectFailure('password', await request('password'), /refused the login of the user/);
  await lab.runs.applySecret('password-db', database.login);
  await expectSuccess('password');
});

test('no Secret at all: the run says which is missing, and succeeds once it is there', async () => {
  const database = await applyPolicy('absent');
  await lab.runs.kubectl(['delete', 'secret', 'absent-db']);
  await expectFailure('absent', await request('absent'), /absent-db/);
  await lab.runs.applySecret('absent-db', database.login);
  await expectSuccess('absent');
});

/** What the controller gives to runners, as somebody who mistypes it does. */
async function setRunnerImage(image: string): Promise<void> {
  const deployment = ['deployment/retention-controller', '-n', namespace];
  for (const args of [
    ['set', 'env', ...deployment, `RETENTION_RUNNER_IMAGE=${image}`],
    ['rollout', 'status', ...deployment, '--timeout=120s'],
  ]) {
    await strictly(cluster.kubectl)(args);
  }
}

test('an image that cannot be pulled: said while the Pod waits, and cleared with the right one', async () => {
  const mistyped = 'registry.invalid/retention-operator:tset';
  await setRunnerImage(mistyped);
  try {
    await applyPolicy('image');
    await request('image');
    const said = /The image registry\.invalid\/retention-operator:tset cannot be pulled/;
    await lab.runs.policies.statusOf('image', 'LastRunSucceeded to name the image', (status) =>
      said.test(conditionOf(status, 'LastRunSucceeded')?.message ?? ''),
    );
  } finally {
    await setRunnerImage(inject('e2e').image);
  }
  await expectSuccess('image');
});

test('a memory limit that kills the runner: the limit is named, and a higher one is enough', async () => {
  await applyPolicy(
    'memory',
    {},
    { runner: { resources: { limits: { memory: '24Mi' }, requests: { memory: '24Mi' } } } },
  );
  const words = /used up its limit of 24Mi: raise spec\.runner\.resources\.limits\.memory/;
  await expectFailure('memory', await request('memory'), words);
  await lab.runs.patchSpec('memory', { runner: null });
  await expectSuccess('memory');
});
