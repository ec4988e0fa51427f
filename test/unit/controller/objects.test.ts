import { expect, it } from 'vitest';
import { parseStatus, type StoredPolicy } from '../../../src/controller/objects.ts';
import { runOf } from '../../support/controller-objects.ts';

const read = (status: object) => parseStatus({ status } as StoredPolicy);

it('a status is read field by field: one that another version wrote does not hide the others', () => {
  const known = { lastHandledRunRequest: 'now', nextRun: '2026-03-01T03:00:00Z' };
  expect(read({ ...known, observedGeneration: 'two', unheardOf: {} })).toEqual(known);
});

it('a run that cannot be read hides neither its job nor the others', () => {
  const good = { name: 'nightly', lastSuccessTime: '2026-03-01T03:00:00Z', lastRun: runOf('nightly') };
  const strange = { name: 'heartbeat', lastSuccessTime: '2026-03-01T04:00:00Z', lastRun: { result: 'Excellent' } };
  expect(read({ jobs: [good, strange, 'none'] }).jobs).toEqual([
    good,
    { name: 'heartbeat', lastSuccessTime: '2026-03-01T04:00:00Z' },
  ]);
});
