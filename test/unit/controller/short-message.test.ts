import { expect, test } from 'vitest';
import { maxShortMessage, type RetentionPolicyStatus } from '../../../src/api/status.ts';
import { shortMessage } from '../../../src/controller/short-message.ts';
import { type PolicyState, policyStates } from '../../support/deploy/policy-states.ts';

const lastRun = { message: 'another run was at work' } as RetentionPolicyStatus['lastRun'];
const status = (name: keyof typeof policyStates): RetentionPolicyStatus => {
  const state: PolicyState = policyStates[name];
  return state.status ?? {};
};

test.each<[keyof typeof policyStates, string | undefined]>([
  ['new', 'another run was at work'],
  ['healthy', 'another run was at work'],
  ['with a failing run', 'nightly: Failed: no database'],
  ['with a Pod that does not start', 'nightly: no such image'],
  ['overdue', 'nightly: has not succeeded'],
  ['suspended after a failure', 'Suspended: No run starts until spec.suspend is false again'],
  ['stalled', 'Overlap: an older policy'],
  ['retrying', 'Forbidden: exceeded quota'],
])('a policy that is %s says in short: %s', (name, message) => {
  expect(shortMessage({ ...status(name), lastRun })).toBe(message);
});

test('a long one, and one with line breaks, stays one short line', () => {
  const { conditions } = status('stalled');
  const long = conditions!.map((condition) => ({
    ...condition,
    message: `No run starts until this is repaired: first line\n  ${'second '.repeat(100)}`,
  }));
  const text = shortMessage({ conditions: long })!;
  expect(text).toMatch(/^Overlap: first line second second .*…$/);
  expect(text).toHaveLength(maxShortMessage);
});
