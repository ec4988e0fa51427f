import { describe, expect, it } from 'vitest';
import { cronJobName, requestedJobName, runAccountName } from '../../../src/controller/names.ts';

const long = 'a-policy-whose-name-is-as-long-as-a-label-value-may-be-in-truth';

describe('names of what is made for a policy', () => {
  it('are the policy and the job where that fits', () => {
    expect(cronJobName('smartem', 'nightly')).toBe('smartem-nightly');
    expect(runAccountName('smartem')).toBe('retention-smartem');
  });

  it('are cut with a hash where it does not, and differ for names that differ behind the cut', () => {
    const [one, other] = [cronJobName(long, 'one'), cronJobName(long, 'other')];
    expect(one).toMatch(/^a-policy-whose-name-is-as-long-as-a-label-v-[0-9a-f]{8}$/);
    expect(one).toHaveLength(52);
    expect(other).not.toBe(one);
    expect(runAccountName(long)).toHaveLength(63);
  });

  it('never have a dot or dash before the hash, which no name may', () => {
    expect(cronJobName(`${'x'.repeat(41)}.-more`, 'nightly')).toMatch(/^x{41}-[0-9a-f]{8}$/);
  });

  it('of a requested run fit a Job, and are the same for the same value of the same policy only', () => {
    const policy = { name: long, uid: 'u1' };
    const name = requestedJobName(policy, 'nightly', 'now');
    expect(name.length).toBeLessThanOrEqual(63);
    expect(requestedJobName(policy, 'nightly', 'now')).toBe(name);
    expect(requestedJobName(policy, 'nightly', 'later')).not.toBe(name);
    expect(requestedJobName({ ...policy, uid: 'u2' }, 'nightly', 'now')).not.toBe(name);
  });
});
