import fc from 'fast-check';
import { apiVersion, kind } from '../../src/api/policy.ts';
import { type Mutations, mutationsOf } from './mutations.ts';
import { fieldNames, schemasOf, valuesOf } from './schema.ts';
import { anyJson, oddText } from './values.ts';

export const sources = ['schema', 'raw JSON', 'mutated'] as const;
export type Source = (typeof sources)[number];

/** What becomes of a policy that was accepted: a new spec, or a status that somebody with the right to do so wrote. */
export type Change = { spec: unknown } | { status: unknown; manager: string; apply: boolean };

/** A body that is sent as a new policy, and what is done to it afterwards. */
export interface Fuzzed {
  source: Source;
  body: unknown;
  changes: readonly Change[];
}

/** `count` policies to be sent, always the same ones for a seed; `first` keeps names of several samples apart. */
export function fuzzed(definition: unknown, options: { seed: number; count: number; first: number }): Fuzzed[] {
  const { seed, count, first } = options;
  return fc
    .sample(requests(definition), { seed, numRuns: count })
    .map(({ body, ...rest }, index) => ({ ...rest, body: named(body, `fuzz-${first + index}`) }));
}

/** The body with this name where it has none of its own; what is odd in a name of its own comes after it. */
function named(body: unknown, name: string): unknown {
  if (!isObject(body) || !isObject(body.metadata)) return body;
  const { name: own, generateName } = body.metadata;
  if (typeof own === 'string') return { ...body, metadata: { ...body.metadata, name: `${name}${own}` } };
  return own === undefined && generateName === undefined ? { ...body, metadata: { ...body.metadata, name } } : body;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function requests(definition: unknown): fc.Arbitrary<Fuzzed> {
  const schemas = schemasOf(definition);
  const specs = shades((wrong) => valuesOf(schemas.spec, wrong));
  const statuses = shades((wrong) => valuesOf(schemas.status, wrong));
  const json = anyJson(fieldNames(schemas.spec));
  const mutations = mutationsOf(json);

  const bySchema = specs.map((spec) => policy({ spec, metadata: {} }));
  const raw = fc.oneof(
    json,
    json.map((spec) => policy({ spec, metadata: {} })),
    { weight: 5, arbitrary: fc.record({ metadata: fc.constant({}), spec: partlyRaw(json) }).map(policy) },
    fc.record({ metadata: json, spec: specs }).map(policy),
    fc.record({ metadata: fc.constant({}), spec: specs, status: json }).map(policy),
  );
  const body: fc.Arbitrary<Pick<Fuzzed, 'source' | 'body'>> = fc.oneof(
    { weight: 4, arbitrary: from('schema', bySchema) },
    { weight: 3, arbitrary: from('raw JSON', raw) },
    { weight: 3, arbitrary: from('mutated', mutated(mutations)) },
  );
  const spec = fc.oneof(
    { weight: 3, arbitrary: specs },
    partlyRaw(json),
    mutated(mutations).map(({ spec }) => spec),
    json,
  );
  const status = fc.record({
    status: fc.oneof({ weight: 9, arbitrary: statuses }, json),
    manager: fc.constantFrom('kubectl-edit', 'retention-controller', 'retention-run-cleanup', 'retention-run-', 'x'),
    apply: fc.boolean(),
  });
  const change = fc.oneof(
    spec.map((spec) => ({ spec })),
    status,
  );
  const changes = fc.oneof(fc.constant<Change[]>([]), fc.array<Change>(change, { minLength: 1, maxLength: 2 }));
  return fc.record({ body, changes }).map(({ body, changes }) => ({ ...body, changes }));
}

const from = (source: Source, bodies: fc.Arbitrary<unknown>) => bodies.map((body) => ({ source, body }));

const policy = (fields: object) => ({ apiVersion, kind, ...fields });

/** All right, a little wrong and quite wrong: most of what is wrong in many places is refused for the first of them. */
function shades<T>(values: (wrong: number) => fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 4, arbitrary: values(0) }, { weight: 2, arbitrary: values(1) }, values(10));
}

/** A spec that would be valid, but for raw JSON in some fields. */
function partlyRaw(json: fc.Arbitrary<unknown>) {
  const rarely = <T>(right: fc.Arbitrary<T>) => fc.oneof({ weight: 9, arbitrary: right }, json, oddText);
  const affinity = json.filter(isObject).map((value) => ({ affinity: value }));
  return fc.record({
    database: rarely(fc.uuid().map((id) => ({ secretRef: { name: id }, extra: id }))),
    schedule: rarely(fc.constant('17 3 * * *')),
    timeZone: rarely(fc.constant('Etc/UTC')),
    runner: fc.oneof({ weight: 4, arbitrary: fc.constant({}) }, { weight: 3, arbitrary: affinity }, json),
    extra: json,
  });
}

const valid = fc.record({
  id: fc.uuid(),
  preset: fc.constantFrom('ScientificCompliance', 'Development', 'Custom'),
  jobs: fc.constantFrom(undefined, [{ name: 'nightly' }, { name: 'heartbeat', operations: ['connections'] }]),
});

function mutated(mutations: Mutations): fc.Arbitrary<{ metadata: object; spec: unknown }> {
  return fc.tuple(valid, mutations).map(([{ id, preset, jobs }, mutate]) => {
    // The second job would do what the first one does.
    const spec = { preset, database: { secretRef: { name: id } }, schedule: '17 3 * * *', jobs };
    return mutate({ apiVersion, kind, metadata: {}, spec });
  });
}
