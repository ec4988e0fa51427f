import { describe, expect, it } from 'vitest';
import { readiness, unhealthy, type Watched } from '../../../src/controller/health.ts';

const minutes = 60_000;
const watch = (kind: string, more: Partial<Watched> = {}): Watched => {
  return { kind, hasSynced: true, silentMs: 0, sinceSuccessMs: 0, failedWith: undefined, ...more };
};
const failing = (failedWith: number, sinceMinutes: number) => ({ failedWith, sinceSuccessMs: sinceMinutes * minutes });

describe('/healthz, by which a kubelet restarts', () => {
  it.each([
    [0, 'times out'],
    [500, 'is refused by the API server'],
  ])('fails when a kind cannot be read for a quarter of an hour though another can: it (%i) %s', (status) => {
    const others = [watch('Job'), watch('Pod', { sinceSuccessMs: minutes })];
    expect(unhealthy([watch('RetentionPolicy', failing(status, 14)), ...others], 0)).toEqual([]);
    expect(unhealthy([watch('RetentionPolicy', failing(status, 16)), ...others], 0)).toEqual([
      'RetentionPolicy could not be listed or watched for 16 minutes',
    ]);
  });

  it.each<[string, Watched[]]>([
    ['the API server is away', [watch('Job', failing(0, 60)), watch('Pod', failing(503, 60))]],
    ['the CRD is missing', [watch('RetentionPolicy', { ...failing(404, 60), hasSynced: false }), watch('Job')]],
    ['a Role is gone', [watch('Job', { ...failing(403, 60), namespace: 'b' }), watch('Job', { namespace: 'a' })]],
    ['the API server is back and not all have seen it', [watch('Job', failing(0, 10)), watch('Pod')]],
  ])('does not while %s: a restart repairs nothing', (_, watches) => {
    expect(unhealthy(watches, 0)).toEqual([]);
  });

  it('fails when nothing happens any more, not even a failure, or a reconciliation does not end', () => {
    expect(unhealthy([watch('Job', { silentMs: 16 * minutes })], 11 * minutes)).toEqual([
      'the watch of Job is stalled',
      'a reconciliation is stuck',
    ]);
  });
});

describe('/readyz', () => {
  const inNamespace = (namespace: string, more: Partial<Watched> = {}) =>
    ['RetentionPolicy', 'Job'].map((kind) => watch(kind, { namespace, ...more }));

  it('names what there is no list of', () => {
    const watches = [watch('Job'), watch('RetentionPolicy', { hasSynced: false, failedWith: 404 })];
    expect(readiness(watches)).toEqual({ notReady: ['no list of RetentionPolicy (404)'], remarks: [] });
    expect(readiness([watch('Job')])).toEqual({ notReady: [], remarks: [] });
  });

  it('is well while one namespace can be worked in, and says what is the matter with the others', () => {
    const forbidden = inNamespace('b', { hasSynced: false, failedWith: 403 });
    expect(readiness([...inNamespace('a'), ...forbidden])).toEqual({
      notReady: [],
      remarks: ['no list of RetentionPolicy in namespace b (403)', 'no list of Job in namespace b (403)'],
    });
    expect(readiness(forbidden).notReady).toHaveLength(2);
  });

  it('fails when there has been no news for a quarter of an hour, whatever keeps them', () => {
    for (const status of [0, 403, 404, 500]) {
      expect(readiness([watch('Job', failing(status, 16)), watch('Pod')]).notReady).toEqual([
        `no news of Job for 16 minutes${status ? ` (${status})` : ''}`,
      ]);
      expect(readiness([watch('Job', failing(status, 14)), watch('Pod')]).notReady).toEqual([]);
    }
  });
});
