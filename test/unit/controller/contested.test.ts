import { beforeEach, describe, expect, it } from 'vitest';
import { Contested, heldMs } from '../../../src/controller/contested.ts';

let now: number;
let contested: Contested;
const attempt = { key: 'CronJob lab/a', content: { suspend: false }, differs: '.spec.suspend' };
const describeIt = async () => 'it is changed back';
/** Writes as soon as that may be; how long that took, in seconds. */
const write = (answer = '') => {
  const ms = contested.waitMs(attempt);
  now += ms;
  expect(contested.waitMs(attempt)).toBe(0);
  contested.wrote(attempt, answer);
  return ms / 1000;
};

beforeEach(() => {
  now = Date.parse('2026-03-01T12:00:00Z');
  contested = new Contested(() => new Date(now));
});

describe('what others undo', () => {
  it('is written again at once twice, and then after waits that double up to two minutes', () => {
    expect(Array.from({ length: 13 }, () => write())).toEqual([0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 120, 120, 120]);
  });

  it('is a quarrel from the third time on, told in the same words until it has held for five minutes', async () => {
    for (const _ of [1, 2, 3]) {
      write();
      contested.waitMs(attempt);
    }
    expect(await contested.quarrel(attempt, describeIt)).toEqual({ message: 'it is changed back', overMs: heldMs });
    write();
    const there = { ...attempt, differs: '' };
    now += heldMs - 1;
    const other = async () => 'other words';
    expect(await contested.quarrel(there, other)).toEqual({ message: 'it is changed back', overMs: 1 });
    now += 1;
    expect(await contested.quarrel(there, other)).toBeUndefined();
    expect(write()).toBe(0);
  });

  it('is none where the content is another, the writes are far apart, or the controller has changed it itself', async () => {
    for (let times = 0; times < 9; times += 1) {
      const other = { ...attempt, content: times };
      expect(contested.waitMs(other)).toBe(0);
      contested.wrote(other, '');
    }
    for (let times = 0; times < 9; times += 1) {
      expect(write()).toBe(0);
      now += heldMs;
    }
    for (let times = 0; times < 9; times += 1) {
      expect(write()).toBe(0);
      contested.forget(attempt.key);
    }
    expect(await contested.quarrel(attempt, describeIt)).toBeUndefined();
  });
});

describe('what is changed on the way', () => {
  it('is tried again after waits that double, and is no quarrel', async () => {
    const answer = attempt.differs;
    expect(Array.from({ length: 10 }, () => write(answer))).toEqual([0, 1, 2, 4, 8, 16, 32, 64, 120, 120]);
    expect(await contested.quarrel(attempt, describeIt)).toBeUndefined();
  });

  it('holds up nothing else that differs', () => {
    write('.spec.image');
    expect(contested.waitMs({ ...attempt, differs: '.spec.image' })).toBe(1000);
    expect(contested.waitMs({ ...attempt, differs: '.spec.image,.spec.suspend' })).toBe(0);
  });
});
