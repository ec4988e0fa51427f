import { describe, expect, it } from 'vitest';
import { desiredObjects, plannedJobs, requestedJob } from '../../../src/controller/desired.ts';
import type { CronJob, Job, StoredPolicy } from '../../../src/controller/objects.ts';
import { deleteOrphans, isAdoptable } from '../../../src/controller/orphans.ts';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import type { OwnerReference } from '../../../src/kubernetes/types.ts';
import { image, policyWith } from '../../support/controller-objects.ts';
import { policyManifest } from '../../support/policies.ts';

const policy = policyWith();
const stored: StoredPolicy = {
  ...policyManifest('lab', 'smartem'),
  metadata: { namespace: 'lab', name: 'smartem', uid: 'uid-1' },
};
const former = policyWith({}, { uid: 'uid-0' });
const desired = desiredObjects(former, image);
const [{ metadata, ...rest }] = desired.cronJobs as [CronJob];
const [formerOwner] = metadata.ownerReferences!;
const owned = (ownerReferences: OwnerReference[] | undefined, name = 'smartem-cleanup'): CronJob => ({
  ...rest,
  metadata: { ...metadata, name, uid: `uid-${name}`, ownerReferences },
});
const job = (ownerReferences: OwnerReference[] | undefined, status: object = {}): Job => {
  const made = requestedJob(former, plannedJobs(former)[0]!, '1', image);
  return { ...made, metadata: { ...made.metadata, uid: 'uid-job', ownerReferences }, status } as Job;
};

async function deleted(
  objects: { cronJobs?: CronJob[]; jobs?: Job[] },
  { currentUid = 'uid-1', error }: { currentUid?: string; error?: ApiError } = {},
) {
  const names: string[] = [];
  const client = {
    get: async () => ({ ...stored, metadata: { ...stored.metadata, uid: currentUid } }),
    delete: async (_: unknown, { name }: { name: string }, { uid }: { uid: string }) => {
      if (error) throw error;
      names.push(`${name} ${uid}`);
    },
  };
  const events: string[] = [];
  const record = (_: unknown, _type: string, reason: string) => events.push(reason);
  const context = { client, events: { record } } as never;
  const obstacle = await deleteOrphans(context, stored, { cronJobs: [], jobs: [], ...objects });
  return { names, events, obstacle };
}

describe('what runs for a former policy is deleted', () => {
  it.each<[string, OwnerReference[] | undefined]>([
    ['nobody', undefined],
    ['nobody any more', []],
    ['the former policy', [formerOwner!]],
    ['two former policies', [formerOwner!, { ...formerOwner!, uid: 'uid-00', controller: false }]],
  ])('if it belongs to %s', async (_, owners) => {
    const { names, events, obstacle } = await deleted({ cronJobs: [owned(owners)], jobs: [job(owners)] });
    expect(names).toEqual(['smartem-cleanup uid-smartem-cleanup', expect.stringMatching(/ uid-job$/)]);
    expect(events).toEqual(['OrphanDeleted', 'OrphanDeleted']);
    expect(obstacle).toBeUndefined();
  });

  const own = { ...formerOwner!, uid: policy.uid };
  it.each<[string, OwnerReference[]]>([
    ['the policy', [own]],
    ['another policy', [{ ...formerOwner!, name: 'other' }]],
    ['a CronJob, as those of kubectl create job', [{ apiVersion: 'batch/v1', kind: 'CronJob', name: 'x', uid: 'x' }]],
    ['another tool’s object too', [formerOwner!, { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: 'x' }]],
    ['a kind of another group', [{ ...formerOwner!, apiVersion: 'example.com/v1' }]],
  ])('but not if it belongs to %s', async (_, owners) => {
    expect((await deleted({ cronJobs: [owned(owners)], jobs: [job(owners)] })).names).toEqual([]);
  });

  it('but not a Job that has ended, nor what is being deleted, has other labels or another shape', async () => {
    const ended = job([], { conditions: [{ type: 'Failed', status: 'True' }] });
    const going = owned([]);
    going.metadata.deletionTimestamp = '2026-01-01T00:00:00Z';
    const unlabelled = owned([]);
    unlabelled.metadata = { ...unlabelled.metadata, labels: { 'retention.agentdata.io/policy': 'smartem' } };
    const shapeless: CronJob = {
      ...owned([]),
      spec: { schedule: '0 0 1 1 *', jobTemplate: { spec: { template: { spec: { containers: [] } } } } },
    };
    const elsewhere = desiredObjects(policyWith({}, { namespace: 'ward', uid: 'uid-0' }), image).cronJobs[0]!;
    const moved = { ...elsewhere, metadata: { ...elsewhere.metadata, namespace: 'lab', ownerReferences: [] } };
    const { names } = await deleted({ cronJobs: [going, unlabelled, shapeless, moved], jobs: [ended] });
    expect(names).toEqual([]);
  });

  it('but not to a cache that has not heard of the policy that is there now', async () => {
    const { names } = await deleted({ cronJobs: [owned([formerOwner!])] }, { currentUid: 'uid-2' });
    expect(names).toEqual([]);
  });

  it('and one that cannot be is told of; one that has gone is not', async () => {
    const error = new ApiError('no', { status: 403, reason: 'Forbidden' });
    const { obstacle } = await deleted({ cronJobs: [owned([])] }, { error });
    expect(obstacle).toMatchObject({ problem: { reason: 'Forbidden' }, error });
    expect(obstacle!.problem.message).toContain('CronJob smartem-cleanup could not be deleted');
    const gone = new ApiError('no', { status: 404, reason: 'NotFound' });
    expect(await deleted({ cronJobs: [owned([])] }, { error: gone })).toMatchObject({ obstacle: undefined });
  });
});

it('an account and its rights become the policy’s if they are ours and nobody’s, CronJobs never', () => {
  const wanted = desiredObjects(policy, image);
  const orphan = <T extends { metadata: object }>(object: T, more: object = {}) => ({
    ...object,
    ...more,
    metadata: { ...object.metadata, ownerReferences: undefined },
  });
  const { serviceAccount, role, roleBinding } = desired;
  expect(isAdoptable(orphan(serviceAccount), wanted.serviceAccount)).toBe(true);
  expect(isAdoptable(orphan(role, { rules: [] }), wanted.role)).toBe(true);
  expect(isAdoptable(orphan(roleBinding), wanted.roleBinding)).toBe(true);
  const roleRef = { ...roleBinding.roleRef, kind: 'ClusterRole' };
  expect(isAdoptable(orphan(roleBinding, { roleRef }), wanted.roleBinding)).toBe(false);
  expect(isAdoptable(serviceAccount, wanted.serviceAccount), 'still the former policy’s').toBe(false);
  const other = { ...serviceAccount, metadata: { ...serviceAccount.metadata, ownerReferences: undefined, labels: {} } };
  expect(isAdoptable(other, wanted.serviceAccount)).toBe(false);
  expect(isAdoptable(orphan(desired.cronJobs[0]!), wanted.cronJobs[0]!)).toBe(false);
});

it('one that was too large to be kept is left alone, and keeps nothing from being worked on', async () => {
  const large = { ...owned(undefined), spec: undefined, omitted: { spec: 'is too large' } } as unknown as CronJob;
  expect((await deleted({ cronJobs: [large, owned(undefined, 'smartem-other')] })).names).toEqual([
    'smartem-other uid-smartem-other',
  ]);
});
