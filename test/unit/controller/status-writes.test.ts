import { expect, it } from 'vitest';
import { type RetentionPolicyStatus, statusSchema } from '../../../src/api/status.ts';
import type { StoredPolicy } from '../../../src/controller/objects.ts';
import { writeStatus } from '../../../src/controller/status-writes.ts';
import { runOf } from '../../support/controller-objects.ts';
import { policyManifest } from '../../support/policies.ts';

const condition = (type: string, message: string) =>
  ({ type, status: 'True', reason: 'Some', message, lastTransitionTime: '2026-03-01T03:00:00Z' }) as const;
const conditions = (message: string) => [condition('Ready', message)];
const lastRun = runOf('nightly');
const foreign = condition('Theirs', 'stays');
const before: RetentionPolicyStatus = {
  conditions: [...conditions('before'), foreign],
  jobs: [{ name: 'nightly', lastRun }],
  nextRun: '2026-03-02T03:00:00Z',
};
const { metadata, ...manifest } = policyManifest('lab', 'smartem');
const stored: StoredPolicy = {
  ...manifest,
  metadata: { ...metadata, uid: 'uid-1', resourceVersion: '7' },
  status: before,
  omitted: { 'metadata.managedFields': 'is nested more than 64 deep' },
};

/** What is sent for this status; nothing else than merge patches may be. */
async function patchesFor(status: RetentionPolicyStatus): Promise<unknown[]> {
  const patches: unknown[] = [];
  const client = {
    mergePatch: async (...args: unknown[]) => {
      patches.push(args[2]);
      return stored;
    },
  };
  await writeStatus(client as never, stored, status);
  return patches;
}

it('the status of a policy that cannot be read as a whole is patched, and keeps what is not the controller’s own', async () => {
  expect(await patchesFor({ conditions: conditions('after'), jobs: [{ name: 'nightly' }] })).toEqual([
    {
      metadata: { uid: 'uid-1', resourceVersion: '7' },
      status: expect.objectContaining({
        conditions: [...conditions('after'), foreign],
        jobs: [{ name: 'nightly', lastRun }],
        nextRun: null,
      }),
    },
  ]);
});

it('every field of it is patched but the statistics: one that is compared and not sent would be sent again and again', async () => {
  const [patch] = await patchesFor({ suspended: true, message: 'Suspended', conditions: conditions('after') });
  const { status } = patch as { status: object };
  expect(status).toMatchObject({ suspended: true, message: 'Suspended', applied: null, database: null });
  expect(Object.keys(status)).toEqual(Object.keys(statusSchema.shape).filter((name) => name !== 'statistics'));
});

it('it is not patched where nothing differs', async () => {
  const same = { conditions: conditions('before'), jobs: [{ name: 'nightly' }], nextRun: before.nextRun };
  expect(await patchesFor(same)).toEqual([]);
});
