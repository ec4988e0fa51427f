import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyWouldChange } from '../../src/kubernetes/equality.ts';
import { sameQuantity } from '../../src/kubernetes/quantity.ts';
import type { KubernetesObject } from '../../src/kubernetes/types.ts';

const fieldManager = 'controller';

/** What a real API server made of an apply, taken from Kubernetes 1.36 and shortened. */
function live(): KubernetesObject & { spec: ReturnType<typeof liveSpec> } {
  return {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: {
      name: 'a',
      namespace: 'x',
      labels: { app: 'retention', theirs: 'yes' },
      ownerReferences: [{ apiVersion: 'v1', kind: 'P', name: 'p', uid: 'u' }],
      managedFields: [
        { manager: 'someone', operation: 'Update', fieldsV1: { 'f:spec': { 'f:suspend': {} } } },
        {
          manager: fieldManager,
          operation: 'Apply',
          fieldsV1: {
            'f:metadata': {
              'f:labels': { 'f:app': {} },
              'f:ownerReferences': { 'k:{"uid":"u"}': {} },
            },
            'f:spec': {
              'f:schedule': {},
              'f:rules': {},
              'f:finalizers': { 'v:"one"': {} },
              'f:containers': {
                'k:{"name":"main"}': {
                  '.': {},
                  'f:name': {},
                  'f:args': {},
                  'f:tty': {},
                  'f:ports': { 'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {} } },
                  'f:resources': { 'f:limits': { 'f:cpu': {}, 'f:memory': {} } },
                },
              },
            },
          },
        },
      ],
    },
    spec: liveSpec(),
  };
}
const liveSpec = () => ({
  schedule: '* * * * *',
  suspend: false,
  rules: [{ action: 'Ignore', on: [{ type: 'DisruptionTarget', status: 'True' }] }],
  finalizers: ['theirs', 'one'],
  containers: [
    { name: 'sidecar', image: 'theirs' },
    {
      name: 'main',
      terminationMessagePath: '/dev/termination-log',
      ports: [{ containerPort: 80, protocol: 'TCP' }],
      resources: { limits: { cpu: '1', memory: '1Gi' } },
    },
  ],
});

const desired = () => ({
  apiVersion: 'batch/v1',
  kind: 'CronJob',
  metadata: {
    name: 'a',
    namespace: 'x',
    labels: { app: 'retention' } as Record<string, string>,
    ownerReferences: [{ apiVersion: 'v1', kind: 'P', name: 'p', uid: 'u' }],
  },
  spec: {
    schedule: '* * * * *',
    rules: [{ action: 'Ignore', on: [{ type: 'DisruptionTarget' }] }],
    finalizers: ['one'],
    containers: [
      {
        name: 'main',
        args: [] as string[],
        tty: false,
        ports: [{ containerPort: 80 }],
        resources: { limits: { cpu: '1000m', memory: '1024Mi' } },
      },
    ],
  },
});
type Desired = ReturnType<typeof desired> & { spec: { suspend?: boolean } };

const changes = (object: object, current: KubernetesObject = live()) =>
  applyWouldChange(object, current, { fieldManager });

describe('applyWouldChange', () => {
  it('sees no change in what the API server has filled in, rewritten, or others have added', () => {
    expect(changes(desired())).toBe(false);
  });

  it('sees no change in an empty list that the live object does not have, nor the record', () => {
    const object = desired();
    const current = live();
    Object.assign(object.spec, { imagePullSecrets: [] });
    expect(changes(object, current)).toBe(false);
    Object.assign(current.spec, { imagePullSecrets: [] });
    expect(changes(object, current)).toBe(false);
    Object.assign(current.spec, { imagePullSecrets: [{ name: 'theirs' }] });
    expect(changes(object, current)).toBe(true);
  });

  const edits: [string, (object: Desired) => void][] = [
    ['another value', (object) => Object.assign(object.spec, { schedule: '0 * * * *' })],
    ['a field that it did not state before', (object) => Object.assign(object.spec, { suspend: true })],
    ['a field whose value is there but not its own', (object) => Object.assign(object.spec, { suspend: false })],
    ['a field no longer stated', (object) => Reflect.deleteProperty(object.spec, 'schedule')],
    ['a label no longer stated', (object) => Object.assign(object.metadata, { labels: {} })],
    ['no labels any more', (object) => Reflect.deleteProperty(object.metadata, 'labels')],
    ['another container', (object) => object.spec.containers.push({ ...object.spec.containers[0]!, name: 'more' })],
    ['no container any more', (object) => object.spec.containers.pop()],
    ['a container renamed', (object) => Object.assign(object.spec.containers[0]!, { name: 'other' })],
    ['another port', (object) => object.spec.containers[0]!.ports.push({ containerPort: 81 })],
    ['arguments', (object) => object.spec.containers[0]!.args.push('-v')],
    ['true for false', (object) => Object.assign(object.spec.containers[0]!, { tty: true })],
    ['another quantity', (object) => Object.assign(object.spec.containers[0]!.resources.limits, { cpu: '2' })],
    ['a longer atomic list', (object) => object.spec.rules.push({ action: 'Count', on: [] })],
    ['a change within an atomic list', (object) => Object.assign(object.spec.rules[0]!, { action: 'FailJob' })],
    ['another member of a set', (object) => object.spec.finalizers.push('theirs')],
    ['a member of a set taken out', (object) => object.spec.finalizers.pop()],
    ['another owner', (object) => Object.assign(object.metadata.ownerReferences[0]!, { uid: 'v' })],
  ];
  it.each(edits)('sees %s', (_, edit) => {
    const object = desired();
    edit(object);
    expect(changes(object)).toBe(true);
  });

  const drifts: [string, (current: ReturnType<typeof live>) => void][] = [
    ['an edited field', ({ spec }) => Object.assign(spec, { schedule: '0 * * * *' })],
    ['a removed label', ({ metadata }) => Object.assign(metadata, { labels: { theirs: 'yes' } })],
    ['a removed container', ({ spec }) => spec.containers.pop()],
    ['an edited port', ({ spec }) => Object.assign(spec.containers[1]!.ports![0]!, { containerPort: 81 })],
    ['an item added to an atomic list', ({ spec }) => spec.rules.push({ action: 'Count', on: [] })],
    ['arguments set by someone else', ({ spec }) => Object.assign(spec.containers[1]!, { args: ['-v'] })],
    ['an edited limit', ({ spec }) => Object.assign(spec.containers[1]!.resources!.limits, { memory: '2Gi' })],
    ['a member taken out of a set', ({ spec }) => spec.finalizers.pop()],
    ['an object that it never applied', ({ metadata }) => Object.assign(metadata, { managedFields: [] })],
  ];
  it.each(drifts)('sees %s in the live object', (_, drift) => {
    const current = live();
    drift(current);
    expect(changes(desired(), current)).toBe(true);
  });

  it('keeps the status and the rest apart, and one manager from another', () => {
    const current = {
      apiVersion: 'example.io/v1',
      kind: 'Thing',
      metadata: {
        name: 'a',
        managedFields: [
          {
            manager: 'one',
            operation: 'Apply',
            subresource: 'status',
            fieldsV1: { 'f:status': { 'f:jobs': { 'k:{"name":"x"}': { '.': {}, 'f:name': {}, 'f:rows': {} } } } },
          },
        ],
      },
      status: { jobs: [{ name: 'x', rows: 1 }] },
    };
    const status = { status: { jobs: [{ name: 'x', rows: 1 }] } };
    expect(applyWouldChange(status, current, { fieldManager: 'one', subresource: 'status' })).toBe(false);
    expect(applyWouldChange(status, current, { fieldManager: 'one' })).toBe(false);
    expect(applyWouldChange(status, current, { fieldManager: 'two', subresource: 'status' })).toBe(true);
    expect(applyWouldChange({}, current, { fieldManager: 'one', subresource: 'status' })).toBe(true);
    expect(applyWouldChange({}, current, { fieldManager: 'two', subresource: 'status' })).toBe(false);
  });
});

const tree = fc.letrec<{ value: unknown; map: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    tie('map'),
  ),
  map: fc.dictionary(fc.stringMatching(/^[a-z]{1,3}$/), tie('value'), { maxKeys: 4 }),
})).map;

/** Whether an apply changes nothing of a field that is recorded as a whole. */
function isTheSame(wanted: unknown, found: unknown): boolean {
  const managedFields = [{ manager: fieldManager, operation: 'Apply', fieldsV1: { 'f:field': {} } }];
  const current = { apiVersion: 'v1', kind: 'Thing', metadata: { name: 'a', managedFields }, field: found };
  return !changes({ field: wanted }, current);
}

describe('applyWouldChange of a field that is recorded as a whole', () => {
  it('holds for a thing and itself, and for a copy through JSON', () => {
    fc.assert(
      fc.property(tree, (value) => isTheSame(value, value) && isTheSame(value, JSON.parse(JSON.stringify(value)))),
    );
  });

  it('ignores what else is in a map', () => {
    fc.assert(fc.property(tree, tree, (value, more) => isTheSame(value, { ...more, ...value })));
  });

  it('sees every changed text, however deep', () => {
    const nest = (path: string[], leaf: unknown): unknown => path.reduceRight((inner, key) => ({ [key]: inner }), leaf);
    const path = fc.array(fc.constantFrom('a', 'b', 'c'));
    fc.assert(
      fc.property(path, fc.string(), fc.string({ minLength: 1 }), (where, text, more) => {
        return !isTheSame(nest(where, text + more), nest(where, text));
      }),
    );
  });

  it('compares lists in full and in order', () => {
    expect(isTheSame([1, 2], [1, 2])).toBe(true);
    expect(isTheSame([1, 2], [2, 1])).toBe(false);
    expect(isTheSame([1], [1, 2])).toBe(false);
    expect(isTheSame([], [1])).toBe(false);
    expect(isTheSame([{ a: 1 }], [{ a: 1, b: 2 }])).toBe(true);
    expect(isTheSame({ a: 1 }, [1])).toBe(false);
  });

  it('takes null, empty and zero for absent where there is nothing', () => {
    for (const nothing of [null, undefined, '', 0, false, [], {}, { a: {} }]) {
      expect(isTheSame({ field: nothing }, {})).toBe(true);
    }
    for (const something of ['x', 1, true, [0], [{}], { a: 'x' }])
      expect(isTheSame({ field: something }, {})).toBe(false);
    expect(isTheSame({ field: null }, { field: 'x' })).toBe(false);
  });

  it('compares quantities by value only where there are quantities', () => {
    expect(isTheSame({ requests: { cpu: '1000m' } }, { requests: { cpu: '1' } })).toBe(true);
    expect(isTheSame({ emptyDir: { sizeLimit: '1024Mi' } }, { emptyDir: { sizeLimit: '1Gi' } })).toBe(true);
    expect(isTheSame({ env: { cpu: '1000m' } }, { env: { cpu: '1' } })).toBe(false);
  });
});

describe('sameQuantity', () => {
  it.each([
    ['1', 1],
    ['1000m', '1'],
    ['0.5', '500m'],
    ['.5', '0.50'],
    ['1.', '1'],
    ['1024Mi', '1Gi'],
    ['1.5Gi', '1536Mi'],
    ['1k', '1000'],
    ['1e3', '1k'],
    ['1E3', '1000'],
    ['5e-1', '500m'],
    ['2E', '2000P'],
    ['-1', '-1000m'],
    ['0', '0Mi'],
    ['100n', '0.1u'],
  ])('%s is %s', (one, other) => {
    expect(sameQuantity(one, other)).toBe(true);
    expect(sameQuantity(other, one)).toBe(true);
  });

  it.each([
    ['1', '2'],
    ['1M', '1Mi'],
    ['1', '-1'],
    ['', ''],
    ['.', '.'],
    ['1x', '1x'],
    [null, null],
    ['1 Gi', '1Gi'],
  ])('%s is not %s', (one, other) => {
    expect(sameQuantity(one, other)).toBe(false);
  });
});
