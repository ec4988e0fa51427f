import { describe, expect, it } from 'vitest';
import type { StoredPolicy } from '../../../src/controller/objects.ts';
import { databaseOf, findOverlap, isStalledItself, overlapKeys, type Rival } from '../../../src/controller/overlap.ts';
import { policyWith } from '../../support/controller-objects.ts';
import { policyManifest } from '../../support/policies.ts';

const day = (number: number) => `2026-01-0${number}T00:00:00Z`;
const policy = (
  name: string,
  born: number,
  operations: string[],
  more: object = {},
  { fingerprint, namespace = 'lab' }: { fingerprint?: string; namespace?: string } = {},
): Rival => ({
  policy: policyWith(
    { jobs: [{ name: 'a', operations }], ...more },
    { name, namespace, uid: `uid-${namespace}-${name}`, creationTimestamp: day(born) },
  ),
  fingerprint,
});
const named = (rival: Rival, others: Rival[]) => {
  const overlap = findOverlap(rival, others);
  return overlap && { with: overlap.with.name, operations: overlap.operations, bySecret: overlap.bySecret };
};
const older = policy('older', 1, ['connections', 'sessions']);

describe('two policies overlap', () => {
  it('for the newer one, with the operations that both apply to the same tables', () => {
    const newer = policy('newer', 2, ['sessions', 'instructions']);
    expect(named(newer, [older, newer])).toEqual({ with: 'older', operations: ['sessions'], bySecret: true });
    expect(findOverlap(older, [older, newer])).toBeUndefined();
  });

  it('for the later name, if they are of the same age', () => {
    const twin = policy('zwilling', 1, ['sessions']);
    expect(named(twin, [older, twin])).toMatchObject({ with: 'older' });
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
    expect(named(newest, [held, newest])).toMatchObject({ with: 'held' });
  });
});

describe('two policies overlap by the database that their runs found', () => {
  const other = { database: { secretRef: { name: 'other' } } };
  const first = policy('first', 1, ['sessions'], {}, { fingerprint: 'f1' });

  it('with two Secrets, or in two namespaces, or with two names of one schema', () => {
    const bySecret = policy('second', 2, ['sessions'], other, { fingerprint: 'f1' });
    expect(named(bySecret, [first, bySecret])).toEqual({ with: 'first', operations: ['sessions'], bySecret: false });
    const elsewhere = policy('first', 2, ['sessions'], {}, { fingerprint: 'f1', namespace: 'ward' });
    expect(named(elsewhere, [first, elsewhere])).toMatchObject({ with: 'first', bySecret: false });
    expect(findOverlap(first, [first, elsewhere])).toBeUndefined();
  });

  it('not with another fingerprint, with none, or with other operations', () => {
    for (const fingerprint of ['f2', undefined]) {
      const second = policy('second', 2, ['sessions'], other, { fingerprint });
      expect(findOverlap(second, [first, second])).toBeUndefined();
    }
    const second = policy('second', 2, ['connections'], other, { fingerprint: 'f1' });
    expect(findOverlap(second, [first, second])).toBeUndefined();
    const none = policy('none', 1, ['sessions']);
    const without = policy('without', 2, ['sessions'], other);
    expect(findOverlap(without, [none, without])).toBeUndefined();
  });
});

describe('the database of a policy', () => {
  const found = (fingerprint: string, secret = 'db', schema = 'public') => ({ secret, schema, fingerprint });
  const stored = (status: object, database: object = {}): StoredPolicy => ({
    ...policyManifest('lab', 'smartem', { database: { secretRef: { name: 'db' }, schema: 'public', ...database } }),
    status,
  });
  const run = (completionTime: string, database?: object) => ({ name: 'a', lastRun: { completionTime, database } });

  it('is what its newest run found, which is remembered while runs cannot connect', () => {
    const jobs = [run(day(1), found('f1')), run(day(3), found('f3')), run(day(2), found('f2'))];
    expect(databaseOf(stored({ jobs, database: found('f0') }))).toEqual(found('f3'));
    expect(databaseOf(stored({ jobs: [run(day(4))], database: found('f0') }))).toEqual(found('f0'));
    expect(databaseOf(stored({}))).toBeUndefined();
  });

  it('is not known once the spec names another Secret or schema, and is again when it is changed back', () => {
    const status = { jobs: [run(day(1), found('f1'))], database: found('f1') };
    expect(databaseOf(stored(status, { secretRef: { name: 'other' } }))).toBeUndefined();
    expect(databaseOf(stored(status, { schema: 'other' }))).toBeUndefined();
    expect(databaseOf(stored(status))).toEqual(found('f1'));
  });

  it('makes the key under which rivals are found, beside the Secret', () => {
    const status = { jobs: [run(day(1), found('f1'))] };
    expect(overlapKeys(stored(status))).toEqual(['lab/db', 'fingerprint f1']);
    expect(overlapKeys(stored({}))).toEqual(['lab/db']);
  });

  it('whatever stands in its place, and in a spec that is not valid, is no error', () => {
    const junk: unknown[] = [null, 1, 'x', [], {}, [null], { jobs: [null, 7] }, { jobs: [run('x', { secret: 1 })] }];
    for (const status of junk) expect(databaseOf({ ...stored({}), status })).toBeUndefined();
    for (const spec of [null, 1, {}, { database: null }, { database: 1 }, { database: { secretRef: null } }]) {
      const broken = { ...stored({ database: found('f1') }), spec };
      expect(databaseOf(broken)).toBeUndefined();
      expect(overlapKeys(broken)).toHaveLength(1);
    }
  });
});

describe('a policy that is Stalled', () => {
  const stalledBy = (reason: string, status: object = {}, state = 'True') =>
    isStalledItself({
      ...policyManifest('lab', 'a'),
      status: { conditions: [{ type: 'Stalled', status: state, reason }], ...status },
    });

  it('for a reason of its own holds back no other', () => {
    expect(stalledBy('InvalidSchedule')).toBe(true);
  });

  it('counts all the same where another holds it back, its CronJobs could not be suspended, or it is so no longer', () => {
    expect(stalledBy('Overlap')).toBe(false);
    expect(stalledBy('InvalidSchedule', { nextRun: '2026-03-01T03:00:00Z' })).toBe(false);
    expect(stalledBy('InvalidSchedule', {}, 'False')).toBe(false);
    expect(isStalledItself(policyManifest('lab', 'a'))).toBe(false);
    expect(isStalledItself({ ...policyManifest('lab', 'a'), status: { conditions: 'none' } })).toBe(false);
  });
});
