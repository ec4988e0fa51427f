import { beforeEach, describe, expect, it } from 'vitest';
import { Refusals } from '../../../src/controller/refusals.ts';
import { cronJobOf, policyWith } from '../../support/controller-objects.ts';

const policy = policyWith();
const problem = { reason: 'InvalidSchedule', message: 'spec.schedule: Invalid value' };
const object = cronJobOf('nightly', { schedule: 'at dawn' });
const change = (live?: ReturnType<typeof cronJobOf>) => [{ object, live }];
let now: Date;
let refusals: Refusals;

beforeEach(() => {
  now = new Date('2026-03-01T12:00:00Z');
  refusals = new Refusals(() => now);
  refusals.remember(policy, change(cronJobOf('nightly')), problem);
});

describe('what was refused', () => {
  it('is not sent again, though what is there has been suspended since', () => {
    expect(refusals.of(policy, change(cronJobOf('nightly', { suspend: true })))).toBe(problem);
  });

  it('is sent when it is another, when the policy is, or when what is there is', () => {
    expect(refusals.of(policy, [{ object: cronJobOf('nightly'), live: cronJobOf('nightly') }])).toBeUndefined();
    refusals.remember(policy, change(), problem);
    expect(refusals.of({ ...policy, generation: 2 }, change())).toBeUndefined();
    refusals.remember(policy, change(), problem);
    expect(refusals.of(policy, change(cronJobOf('nightly', { timeZone: 'UTC' })))).toBeUndefined();
    refusals.remember(policy, change(), problem);
    expect(refusals.of({ ...policy, uid: 'uid-2' }, change())).toBeUndefined();
  });

  it('is tried again after five minutes', () => {
    now = new Date('2026-03-01T12:05:00Z');
    expect(refusals.of(policy, change(cronJobOf('nightly')))).toBeUndefined();
  });
});
