import fc from 'fast-check';
import { runJobAnnotation, runRequestedAtAnnotation } from '../../src/api/policy.ts';
import { mapKey, meaningful, oddText } from './values.ts';

/** A policy of which anything may become odd. */
interface Mutable {
  apiVersion: unknown;
  kind: unknown;
  metadata: Record<string, unknown>;
  spec: unknown;
}

type Mutation = (policy: Mutable) => Mutable;
export type Mutations = fc.Arbitrary<Mutation>;

/** One mutation or a few; `json` is any JSON. */
export function mutationsOf(json: fc.Arbitrary<unknown>): Mutations {
  const one = fc.oneof(
    { weight: 3, arbitrary: ofSpec(json) },
    { weight: 3, arbitrary: ofMetadata(json) },
    ofTheRest(json),
  );
  return fc
    .array(one, { minLength: 1, maxLength: 3 })
    .map((mutations) => (policy) => mutations.reduce((changed, mutate) => mutate(changed), policy));
}

const paths = [
  'schedule',
  'timeZone',
  'jobs',
  'jobs.0',
  'jobs.0.name',
  'jobs.0.schedule',
  'jobs.0.operations',
  'database',
  'database.secretRef',
  'database.secretRef.name',
  'database.schema',
  'database.timestampTimeZone',
  'database.tls',
  'preset',
  'retention.instructionRetentionDays',
  'retention.statuses.sessions',
  'statistics',
  'suspend',
  'dryRun',
  'guard',
  'limits.maxDuration',
  'limits.maxReplicationLag',
  'history.runs',
  'runner',
  'runner.labels',
  'runner.annotations',
  'runner.nodeSelector',
  'runner.resources.limits',
  'runner.tolerations',
  'runner.affinity',
  'runner.priorityClassName',
  'runner.imagePullSecrets',
  'runner.runtimeClassName',
  'runner.securityContext.seLinuxOptions',
  'unknown',
] as const;

function ofSpec(json: fc.Arbitrary<unknown>): Mutations {
  const maps = fc.dictionary(mapKey, fc.oneof(oddText, fc.constantFrom('x', '1', '256Mi')), { maxKeys: 3 });
  const anywhere = fc.record({ path: fc.constantFrom(...paths), value: fc.oneof(json, oddText, maps) });
  const inTexts = fc.oneof(
    ...(['schedule', 'timeZone'] as const).map((path) =>
      fc.record({ path: fc.constant(path), value: meaningful[path]! }),
    ),
    fc.record({ path: fc.constantFrom('runner.labels', 'runner.annotations', 'runner.nodeSelector'), value: maps }),
    fc.record({
      path: fc.constantFrom('runner.priorityClassName', 'runner.runtimeClassName', 'database.schema'),
      value: oddText,
    }),
  );
  return fc.oneof(anywhere, inTexts).map(({ path, value }) => (policy) => ({
    ...policy,
    spec: withField(policy.spec, path.split('.'), value),
  }));
}

/** A copy with another value at a path; what is in the way of the path is replaced. */
function withField(object: unknown, [name, ...rest]: string[], value: unknown): unknown {
  if (name === undefined) return value;
  if (Array.isArray(object)) return [withField(object[0], rest, value), ...object.slice(1)];
  const fields = typeof object === 'object' && object !== null ? (object as Record<string, unknown>) : {};
  return { ...fields, [name]: withField(fields[name], rest, value) };
}

const suffix = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 260 }).map((length) => 'x'.repeat(length)) },
  { weight: 4, arbitrary: fc.constantFrom('.a', '-a', '.a.b-c.d', `${'-x'.repeat(20)}`, `${'.x'.repeat(20)}`) },
  fc.constantFrom('.', '-', '_', 'A', '/x', '%2F', ' ', '?x', '\u0000', 'é', '..'),
);

function ofMetadata(json: fc.Arbitrary<unknown>): Mutations {
  const request = fc.record({
    [runRequestedAtAnnotation]: fc.oneof(oddText, fc.string({ unit: 'binary' }), fc.constant('2026-03-01T03:00:00Z')),
    [runJobAnnotation]: fc.oneof(fc.constant(undefined), oddText, fc.constantFrom('cleanup', 'nightly', 'heartbeat')),
  });
  const metadata: Record<string, fc.Arbitrary<unknown>> = {
    annotations: fc.oneof(
      { weight: 6, arbitrary: request },
      fc.dictionary(mapKey, oddText, { maxKeys: 3 }),
      fc.constantFrom({ big: 'x'.repeat(200_000) }, { big: 'x'.repeat(300_000) }),
      json,
    ),
    name: suffix,
    labels: fc.oneof({ weight: 3, arbitrary: fc.dictionary(mapKey, fc.constantFrom('', 'x', 'a b', '-')) }, json),
    finalizers: fc.oneof(fc.constantFrom(['example.com/x'], ['foregroundDeletion'], ['x'], ['']), json),
    ownerReferences: fc.oneof(fc.constant([{ apiVersion: 'v1', kind: 'Secret', name: 'x', uid: '' }]), json),
    generateName: fc.constantFrom('made-', '', `${'x'.repeat(300)}-`, 'A'),
    namespace: fc.constantFrom('', 'default', 'no-such-namespace'),
    uid: fc.constantFrom('', '0', 'x'),
    generation: fc.constantFrom(-1, 0, 2 ** 53, 1.5, '1'),
    resourceVersion: fc.constantFrom('', '0', '1', 'x'),
    creationTimestamp: fc.constantFrom(null, '2999-01-01T00:00:00Z', '1970-01-01T00:00:00Z', 'yesterday'),
    deletionTimestamp: fc.constantFrom(null, '1970-01-01T00:00:00Z'),
    managedFields: fc.oneof(
      fc.constant([{ manager: 'retention-run-x', operation: 'Apply', subresource: 'status', apiVersion: 'v1' }]),
      json,
    ),
  };
  const often = ['annotations', 'annotations', 'annotations', 'name', 'name', 'labels', 'finalizers'];
  const chosen = [...often, ...Object.keys(metadata)].map((name) => metadata[name]!.map((value) => ({ name, value })));
  return fc.oneof(...chosen).map(({ name, value }) => (policy) => ({
    ...policy,
    metadata: { ...policy.metadata, [name]: value },
  }));
}

function ofTheRest(json: fc.Arbitrary<unknown>): Mutations {
  const fields = fc.oneof(
    json.map((metadata) => ({ metadata })),
    json.map((spec) => ({ spec })),
    json.map((status) => ({ status })),
    json.map((extra) => ({ extra })),
    fc.constantFrom(
      { kind: 'CronJob' },
      { kind: 'retentionpolicy' },
      { apiVersion: 'retention.agentdata.io/v1' },
      { apiVersion: null },
      { status: { observedGeneration: 1, conditions: [] } },
    ),
  );
  return fields.map((changed) => (policy) => ({ ...policy, ...changed }) as Mutable);
}
