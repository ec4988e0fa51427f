import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { share } from '../../src/kubernetes/share.ts';

const cronJob = (name: string, image = 'a') => ({
  metadata: { name, managedFields: [{ manager: 'us', fieldsV1: { 'f:spec': { 'f:image': {} } } }] },
  spec: { image, args: ['run', name], volumes: [{ name: 'database' }] },
});

describe('sharing', () => {
  it('keeps the equal parts of two objects once, and the others apart', () => {
    const previous = cronJob('first');
    const shared = share(previous, cronJob('second'));
    expect(shared).toEqual(cronJob('second'));
    expect(previous).toEqual(cronJob('first'));
    expect(shared.metadata).not.toBe(previous.metadata);
    expect(shared.metadata.managedFields).toBe(previous.metadata.managedFields);
    expect(shared.spec.volumes).toBe(previous.spec.volumes);
    expect(shared.spec.args).not.toBe(previous.spec.args);
  });

  it('gives the former object where nothing has changed, and only there', () => {
    const previous = cronJob('first');
    expect(share(previous, cronJob('first'))).toBe(previous);
    expect(share(previous, cronJob('first', 'b')).metadata).toBe(previous.metadata);
    for (const [before, after] of [
      [{ a: 1, b: 2 }, { a: 1 }],
      [{ a: 1 }, { a: 1, b: 2 }],
      [['a', 'b'], ['a']],
      [['a'], { 0: 'a' }],
      [{}, []],
      [{ a: null }, { a: 0 }],
      [{ a: {} }, { a: null }],
      [undefined, { a: {} }],
      // Every object has a `valueOf`, which is not its own.
      [{ b: 1 }, { valueOf: {} }],
    ] as [unknown, unknown][]) {
      const shared = share(before, structuredClone(after));
      expect(shared).toEqual(after);
      expect(shared).not.toBe(before);
    }
  });

  it('never changes what an object says, however many have been shared with before', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue({ maxDepth: 4 }), { minLength: 2 }), (values) => {
        // JSON has no -0.
        const texts = values.map((value) => JSON.stringify(value));
        let newest: unknown;
        const kept = texts.map((text) => {
          newest = share(newest, JSON.parse(text));
          return newest;
        });
        expect(kept).toEqual(texts.map((text) => JSON.parse(text)));
      }),
    );
  });
});
