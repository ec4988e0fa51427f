import { describe, expect, it } from 'vitest';
import { runFieldManager } from '../../src/api/policy.ts';
import { resources } from '../../src/controller/objects.ts';
import { adminClient } from '../support/controller.ts';
import { runOf } from '../support/controller-objects.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf } from '../support/policies.ts';
import { useController } from '../support/use-controller.ts';

const cluster = useCluster();
const client = adminClient(cluster);
const policies = useController(cluster);

/** Writes a status as somebody with the right to do so. */
function overwrite(name: string, fieldManager: string, status: object) {
  const { namespace } = policies;
  const options = { fieldManager, force: true, subresource: 'status' } as const;
  return client.apply(resources.policies, { metadata: { namespace, name }, status }, options);
}

const condition = (type: string, fields: object = {}) => ({
  type,
  status: 'True',
  reason: 'Foreign',
  message: 'not the controller’s',
  lastTransitionTime: '2026-03-01T03:00:00Z',
  ...fields,
});

describe('a status that somebody else wrote', () => {
  it('as a run of a job that the policy does not have, into the controller’s conditions, is taken back', async () => {
    await policies.apply('p');
    await policies.settled('p', 'Ready', 'True');
    const manager = runFieldManager('gone');
    await overwrite('p', manager, { conditions: [condition('Ready', { status: 'False' })] });
    await policies.statusOf('p', 'the other manager to be gone', ({ conditions }, { metadata }) => {
      const ready = conditions?.find(({ type }) => type === 'Ready');
      return ready?.reason === 'Scheduled' && !metadata.managedFields?.some((entry) => entry.manager === manager);
    });
  });

  it('into a condition does not keep that from going when it holds no longer', async () => {
    await policies.apply('p', { schedule: '5-3 * * * *' });
    await policies.settled('p', 'Stalled', 'True');
    await overwrite('p', 'tool', { conditions: [condition('tool.example/Approved')] });
    await overwrite('p', 'somebody', { conditions: [condition('Stalled')] });
    await policies.statusOf('p', 'the controller’s words to be back', (status) =>
      conditionOf(status, 'Stalled')?.message.includes('5-3'),
    );
    await policies.apply('p', { schedule: '1 * * * *' });
    const status = await policies.settled('p', 'Ready', 'True');
    expect(conditionOf(status, 'Stalled')).toBeUndefined();
    expect(status.conditions?.map(({ type }) => type)).toContain('tool.example/Approved');
  });

  it('with a run whose end is no time does not keep the controller from writing its own', async () => {
    await policies.apply('p');
    await policies.settled('p', 'Ready', 'True');
    const lastRun = runOf('cleanup', { completionTime: 'yesterday' });
    await overwrite('p', runFieldManager('cleanup'), { jobs: [{ name: 'cleanup', lastRun }] });
    await policies.apply('p', { suspend: true });
    const status = await policies.statusOf(
      'p',
      'the policy to be suspended',
      (found) => conditionOf(found, 'Ready')?.reason === 'Suspended',
    );
    expect(status.lastRun).toBeUndefined();
  });
});
