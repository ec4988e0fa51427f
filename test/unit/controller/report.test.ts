import { expect, it } from 'vitest';
import type { StoredPolicy } from '../../../src/controller/objects.ts';
import { forgetJobs } from '../../../src/controller/report.ts';
import type { Client } from '../../../src/kubernetes/client.ts';

it('of what managers of runs have in the status, only what they applied can be removed by an apply, and is', async () => {
  const entry = (manager: string, operation: string) => ({ manager, operation, subresource: 'status' });
  const managedFields = [
    entry('retention-run-kept', 'Apply'),
    entry('retention-run-gone', 'Apply'),
    entry('retention-run-edited', 'Update'),
  ];
  const stored: StoredPolicy = {
    apiVersion: 'retention.agentdata.io/v1alpha1',
    kind: 'RetentionPolicy',
    metadata: { namespace: 'lab', name: 'smartem', managedFields },
  };
  const applied: string[] = [];
  const client = {
    apply: async (_resource: unknown, _object: unknown, { fieldManager }: { fieldManager: string }) => {
      applied.push(fieldManager);
      return stored;
    },
  } as unknown as Client;
  await forgetJobs(client, stored, ['kept']);
  expect(applied).toEqual(['retention-run-gone']);
});
