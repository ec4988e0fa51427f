import { expect, it } from 'vitest';
import { parsePolicy, parseStatus, type StoredPolicy } from '../../../src/controller/objects.ts';
import { overlapKeys } from '../../../src/controller/overlap.ts';
import { runOf } from '../../support/controller-objects.ts';
import { policyManifest } from '../../support/policies.ts';

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

it('a spec that no Pod could be given is refused in one sentence', () => {
  const annotations = (bytes: number) =>
    Object.fromEntries(Array.from({ length: bytes / 4000 }, (_, n) => [`example.io/a${n}`, 'x'.repeat(4000)]));
  const of = (bytes: number) => parsePolicy(policyManifest('x', 'y', { runner: { annotations: annotations(bytes) } }));
  expect(of(96_000)).toHaveProperty('policy');
  expect(of(104_000)).toEqual({
    problem: expect.stringMatching(/^the spec has 10\d{4} bytes of JSON, and may have 102400: .*128 KiB$/),
  });
});

it('a spec that could not even be read is refused for that', () => {
  const { spec: _, ...manifest } = policyManifest('x', 'y');
  expect(parsePolicy({ ...manifest, omitted: { spec: 'is nested more than 64 deep' } })).toEqual({
    problem: 'the spec is nested more than 64 deep: make it smaller',
  });
});

it.each([
  ['an object where a name belongs, which is no text either', '{"database":{"secretRef":{"name":{"toString":1}}}}'],
  ['a number beyond all numbers', '{"guard":{"maxRowsPerRun":1e400}}'],
  ['fields with the names of JavaScript’s own', '{"__proto__":{"schedule":"x"},"constructor":{"prototype":{}}}'],
  ['half a character', '{"database":{"secretRef":{"name":"\\ud800"}}}'],
  ['no object', '[null]'],
])('%s is told, and thrown by nobody', (_, json) => {
  const stored = { ...policyManifest('x', 'y'), spec: JSON.parse(json) };
  expect(parsePolicy(stored)).toHaveProperty('problem');
  expect(overlapKeys(stored)).toEqual([expect.stringMatching(/^x\//)]);
});
