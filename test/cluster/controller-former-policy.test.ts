import { beforeAll, beforeEach, expect, it } from 'vitest';
import { runFieldManager } from '../../src/api/policy.ts';
import { applyStatus } from '../../src/controller/apply-status.ts';
import type { StoredPolicy } from '../../src/controller/objects.ts';
import { forgetJobs } from '../../src/controller/report.ts';
import { writeStatus } from '../../src/controller/status-writes.ts';
import { isNotFound } from '../../src/kubernetes/api-error.ts';
import { adminClient, installOperator } from '../support/controller.ts';
import { runOf } from '../support/controller-objects.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { Policies } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
let policies: Policies;
let former: StoredPolicy;

/** The run of a job, in the status of a policy. */
const jobs = [{ name: 'cleanup', lastRun: runOf('cleanup') }];
const manager = runFieldManager('cleanup');

beforeAll(() => installOperator(cluster));
beforeEach(async () => {
  policies = new Policies(client, await cluster.createNamespace());
  former = await applyStatus(client, await policies.apply('smartem'), manager, { jobs });
});

/** Deletes the policy and creates it again: what the status of the new one is. */
async function createAgain(): Promise<unknown> {
  await policies.delete('smartem');
  await eventually('the policy to be gone', () => policies.get('smartem').then(() => false, isNotFound));
  return (await policies.apply('smartem')).status;
}

it.each<[string, () => Promise<unknown>]>([
  ['the controller’s own', () => writeStatus(client, former, { observedGeneration: 1, lastHandledRunRequest: 'x' })],
  ['a run’s', () => applyStatus(client, former, manager, { jobs })],
  ['that of a job that is gone', () => forgetJobs(client, former, [])],
])('a late write of a former policy’s status, %s, does not reach the new one of the same name', async (_, write) => {
  const status = await createAgain();
  await expect(write()).rejects.toMatchObject({ status: 409 });
  expect((await policies.get('smartem')).status).toEqual(status);
});

it('a write that another one overtakes is made all the same', async () => {
  await applyStatus(client, former, 'another', { lastHandledRunRequest: 'x' });
  await writeStatus(client, former, { observedGeneration: 1, jobs: [{ name: 'cleanup', active: 2 }] });
  expect((await policies.get('smartem')).status).toMatchObject({
    observedGeneration: 1,
    lastHandledRunRequest: 'x',
    jobs: [{ name: 'cleanup', active: 2, lastRun: { id: 'smartem-cleanup-1' } }],
  });
});
