import { describe, expect, it } from 'vitest';
import { OwnWrites } from '../../../src/controller/own-writes.ts';

const object = (resourceVersion: string, uid = 'u1') => ({
  apiVersion: 'v1',
  kind: 'Thing',
  metadata: { namespace: 'lab', name: 'a', uid, resourceVersion },
});

describe('an object that the controller wrote', () => {
  it('is read as written until the cache has caught up', () => {
    const own = new OwnWrites();
    own.record(object('100'));
    expect(own.newest(object('99')).metadata.resourceVersion).toBe('100');
    expect(own.newest(object('101')).metadata.resourceVersion).toBe('101');
    // The watch of the cache may not go back.
    expect(own.newest(object('99')).metadata.resourceVersion).toBe('99');
  });

  it('is kept no longer than until the cache shows it, though nobody asks', () => {
    const own = new OwnWrites();
    own.record(object('100'));
    own.seen(object('99'));
    expect(own.size).toBe(1);
    own.seen(object('100'));
    expect(own.size).toBe(0);
  });

  it('is not kept where the cache shows it before the answer to the write comes', () => {
    let cached = object('99');
    const own = new OwnWrites(() => cached);
    own.record(object('100'));
    expect(own.size).toBe(1);
    cached = object('101');
    own.record(object('100'));
    expect(own.size).toBe(0);
    cached = object('101', 'u0');
    own.record(object('100'));
    expect(own.size).toBe(1);
  });

  it('is forgotten with its object, and not with another of the same name', () => {
    const own = new OwnWrites();
    own.record(object('100'));
    own.gone(object('99', 'u2'));
    expect(own.size).toBe(1);
    own.gone(object('99'));
    expect(own.size).toBe(0);
  });

  it('is not taken for another of the same name', () => {
    const own = new OwnWrites();
    own.record(object('100'));
    expect(own.newest(object('50', 'u2')).metadata.uid).toBe('u2');
  });
});
