import { expect, it } from 'vitest';
import { runRequestedAtAnnotation } from '../../../src/api/policy.ts';
import { desiredObjects } from '../../../src/controller/desired.ts';
import { fieldManager } from '../../../src/controller/names.ts';
import { parsePolicy, type StoredPolicy } from '../../../src/controller/objects.ts';
import { OwnWrites } from '../../../src/controller/own-writes.ts';
import { Reconciler } from '../../../src/controller/reconcile.ts';
import { image, jobOfRun } from '../../support/controller-objects.ts';
import { silent } from '../../support/log.ts';
import { policyManifest } from '../../support/policies.ts';

const metadata = {
  namespace: 'lab',
  name: 'smartem',
  uid: 'uid-1',
  generation: 1,
  resourceVersion: '10',
  creationTimestamp: '2026-01-01T00:00:00Z',
};
const cached: StoredPolicy = { ...policyManifest('lab', 'smartem', { preset: 'Development' }), metadata };
/** The policy as somebody changes it while it is reconciled. */
const fresh: StoredPolicy = {
  ...policyManifest('lab', 'smartem', { preset: 'ScientificCompliance' }),
  metadata: {
    ...metadata,
    generation: 2,
    resourceVersion: '20',
    annotations: { [runRequestedAtAnnotation]: '2026-03-01T03:59:00Z' },
  },
};

/** What the API server answers to an apply. */
function applied(object: object) {
  const { metadata: stated } = object as { metadata: object };
  const owned = (part: object) =>
    Object.fromEntries(
      Object.keys(part)
        .filter((name) => !['apiVersion', 'kind', 'metadata', 'name', 'namespace'].includes(name))
        .map((name) => [`f:${name}`, {}]),
    );
  const fieldsV1 = { ...owned(object), 'f:metadata': owned(stated) };
  const managedFields = [{ manager: fieldManager, operation: 'Apply', fieldsV1 }];
  return { ...object, metadata: { ...stated, uid: 'uid-c', resourceVersion: '30', managedFields } };
}

it('a policy that changes while it is reconciled gets no run and no status for what it was, but another look at once', async () => {
  const parsed = parsePolicy(cached);
  if (!('policy' in parsed)) throw new Error(parsed.problem);
  const { cronJobs, serviceAccount, role, roleBinding } = desiredObjects(parsed.policy, image);
  const cronJob = { ...cronJobs[0]!, metadata: { ...cronJobs[0]!.metadata, uid: 'uid-c', resourceVersion: '5' } };
  const job = jobOfRun('smartem-cleanup-1', {
    job: 'cleanup',
    ended: { type: 'Failed', reason: 'BackoffLimitExceeded' },
  });
  job.metadata.ownerReferences = [
    { apiVersion: 'batch/v1', kind: 'CronJob', name: 'x', uid: 'uid-c', controller: true },
  ];
  const created: unknown[] = [];
  const statuses: { observedGeneration?: number }[] = [];
  const client = {
    get: async () => fresh,
    list: async () => ({ items: [], resourceVersion: '1' }),
    create: async (_: unknown, object: unknown) => created.push(object),
    apply: async ({ kind }: { kind: string }, object: { status?: object }) => {
      if (kind !== 'RetentionPolicy') return applied(object);
      if (object.status) statuses.push(object.status);
      return fresh;
    },
  };
  const holding = (object: unknown) => ({ get: () => object, list: () => [object], indexed: () => [object] });
  const caches = {
    policies: holding(cached),
    cronJobs: holding(cronJob),
    jobs: holding(job),
    pods: { indexed: () => [] },
    serviceAccounts: holding(serviceAccount),
    roles: holding(role),
    roleBindings: holding(roleBinding),
  };
  const reconciler = new Reconciler({
    complete: () => true,
    ownWrites: new OwnWrites(),
    client,
    caches,
    events: { record: () => {} },
    runner: image,
    log: silent,
    now: () => new Date('2026-03-01T04:00:00Z'),
  } as never);
  expect(await reconciler.reconcile('lab/smartem')).toEqual({ requeueAfterMs: 0 });
  expect(created).toEqual([]);
  expect(statuses.filter(({ observedGeneration }) => observedGeneration !== undefined)).toEqual([]);

  // Then the new one counts, though the cache has not heard of it yet.
  await reconciler.reconcile('lab/smartem');
  const request = JSON.stringify(created);
  expect(request).toContain('ScientificCompliance');
  expect(request).not.toContain('Development');
});

it('a status that cannot be read is removed before anything else, so that it can be written again', async () => {
  const patches: unknown[] = [];
  const unreadable = { ...cached, omitted: { status: 'takes more than 512 KiB' } };
  const reconciler = new Reconciler({
    complete: () => true,
    ownWrites: new OwnWrites(),
    client: {
      mergePatch: async (...args: unknown[]) => {
        patches.push(args[2], args[3]);
        return fresh;
      },
    },
    caches: { policies: { get: () => unreadable } },
    log: silent,
    now: () => new Date('2026-03-01T04:00:00Z'),
  } as never);
  expect(await reconciler.reconcile('lab/smartem')).toEqual({ requeueAfterMs: 0 });
  expect(patches).toEqual([
    { metadata: { uid: 'uid-1', resourceVersion: '10' }, status: null },
    { fieldManager: 'retention-controller', subresource: 'status' },
  ]);
});

it('nothing is done for a policy while the caches of its namespace do not hold all there is: a rival may be missing', async () => {
  let complete = false;
  const asked: string[] = [];
  const caches = {
    policies: { get: () => cached, indexed: () => [] },
    cronJobs: {
      indexed: () => {
        asked.push('cronJobs');
        throw new Error('the test ends here');
      },
    },
  };
  const reconciler = new Reconciler({
    complete: (namespace: string) => namespace === 'other' || complete,
    ownWrites: new OwnWrites(),
    caches,
    runner: image,
    log: silent,
    now: () => new Date('2026-03-01T04:00:00Z'),
  } as never);
  expect(await reconciler.reconcile('lab/smartem')).toEqual({ requeueAfterMs: 1000 });
  expect(asked).toEqual([]);
  complete = true;
  await expect(reconciler.reconcile('lab/smartem')).rejects.toThrow('the test ends here');
});
