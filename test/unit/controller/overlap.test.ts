import { describe, expect, it } from 'vitest';
import { findOverlap } from '../../../src/controller/overlap.ts';
import { policyWith } from '../../support/controller-objects.ts';

const day = (number: number) => `2026-01-0${number}T00:00:00Z`;
const policy = (name: string, born: number, operations: string[], more: object = {}) =>
  policyWith(
    { jobs: [{ name: 'a', operations }], ...more },
    { name, uid: `uid-${name}`, creationTimestamp: day(born) },
  );
const older = policy('older', 1, ['connections', 'sessions']);

describe('two policies overlap', () => {
  it('for the newer one, with the operations that both apply to the same tables', () => {
    const newer = policy('newer', 2, ['sessions', 'instructions']);
    expect(findOverlap(newer, [older, newer])).toEqual({ with: 'older', operations: ['sessions'] });
    expect(findOverlap(older, [older, newer])).toBeUndefined();
  });

  it('for the later name, if they are of the same age', () => {
    const twin = policy('zwilling', 1, ['sessions']);
    expect(findOverlap(twin, [older, twin])).toMatchObject({ with: 'older' });
    expect(findOverlap(older, [older, twin])).toBeUndefined();
  });

  it.each([
    ['other operations', ['instructions'], {}],
    ['another Secret', ['sessions'], { database: { secretRef: { name: 'other' } } }],
    ['another schema', ['sessions'], { database: { secretRef: { name: 'db' }, schema: 'other' } }],
  ])('not with %s', (_, operations, more) => {
    const newer = policy('newer', 2, operations, more);
    expect(findOverlap(newer, [older, newer])).toBeUndefined();
  });

  it('not in their statistics', () => {
    const statistics = { schedule: '0 * * * *' };
    const first = policy('first', 1, ['sessions'], { statistics });
    const second = policy('second', 2, ['connections'], { statistics });
    expect(findOverlap(second, [first, second])).toBeUndefined();
  });

  it('not with one that is itself held back', () => {
    const held = policy('held', 2, ['sessions', 'instructions']);
    const newest = policy('newest', 3, ['instructions']);
    expect(findOverlap(newest, [older, held, newest])).toBeUndefined();
    expect(findOverlap(newest, [held, newest])).toMatchObject({ with: 'held' });
  });
});
