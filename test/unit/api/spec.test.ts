import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { customResourceDefinition } from '../../../src/api/generate/crd.ts';
import { explain, retentionPolicySchema } from '../../../src/api/policy.ts';
import { operationsOf } from '../../../src/api/spec.ts';

/** The design's example, with something in spec.runner. */
const example = `
apiVersion: retention.agentdata.io/v1alpha1
kind: RetentionPolicy
metadata: {name: smartem, namespace: smartem}
spec:
  preset: ScientificCompliance
  retention:
    connectionCleanupHours: 48
    instructionRetentionDays: 365
    completedSessionRetentionDays: 730
    acknowledgementRetentionDays: 2555
    batchSize: 500
    statuses: {sessions: [completed, terminated, error, ended]}
  database:
    secretRef: {name: smartem-db}
    schema: public
    timestampTimeZone: UTC
    tls: {mode: verify-full, caSecretRef: {name: smartem-db-ca, key: ca.crt}}
  schedule: "17 3 * * *"
  timeZone: Europe/London
  jobs:
    - {name: heartbeat, schedule: "*/15 * * * *", operations: [connections]}
    - {name: nightly, operations: [instructions, sessions, acknowledgements]}
  statistics: {schedule: "0 * * * *"}
  suspend: false
  dryRun: false
  guard:
    maxRowsPerRun: 1000000
    maxPercentOfTable: 50
    maxPercentOfConnections: 90
    maxClockDifference: 5m
    confirm: {instructionRetentionDays: 200, statuses: {sessions: [ended]}}
  limits:
    {lockTimeout: 2s, statementTimeout: 60s, maxDuration: 1h, pauseBetweenBatches: 0s, maxReplicationLag: 1Gi, vacuum: false}
  history: {runs: 10, successfulJobs: 3, failedJobs: 3}
  runner:
    labels: {team: smartem}
    annotations: {note: "any text, of any length up to 4096"}
    resources: {limits: {cpu: 500m, memory: 256Mi}, requests: {cpu: 1}}
    nodeSelector: {disk: ssd}
    tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
    affinity: {nodeAffinity: {}}
    priorityClassName: low
    imagePullSecrets: [{name: registry}]
    runtimeClassName: gvisor
    securityContext: {runAsUser: 1000, fsGroup: 1000}
`;

type Tree = { [key: string]: Tree };

function policy(): Tree {
  return parse(example) as Tree;
}

const minimal = {
  apiVersion: 'retention.agentdata.io/v1alpha1',
  kind: 'RetentionPolicy',
  metadata: { name: 'p' },
  spec: { database: { secretRef: { name: 'db' } }, schedule: '0 3 * * *' },
};

test('the design’s example is taken as it is written', () => {
  const parsed = retentionPolicySchema.parse(policy());
  expect(parsed.spec).toEqual(policy().spec);
});

test('a policy needs a database and a schedule; the rest has defaults', () => {
  expect(retentionPolicySchema.parse(minimal).spec).toEqual({
    preset: 'ScientificCompliance',
    database: { secretRef: { name: 'db' }, schema: 'public', timestampTimeZone: 'UTC' },
    schedule: '0 3 * * *',
    timeZone: 'Etc/UTC',
    suspend: false,
    dryRun: false,
    guard: { maxRowsPerRun: 1_000_000, maxPercentOfTable: 50 },
    limits: { lockTimeout: '2s', statementTimeout: '60s', maxDuration: '1h', pauseBetweenBatches: '0s', vacuum: true },
    history: { runs: 10, successfulJobs: 3, failedJobs: 3 },
  });
});

test('a job without operations stays as it is written, and runs all of them', () => {
  const spec = { ...minimal.spec, jobs: [{ name: 'all' }, { name: 'two', operations: ['sessions', 'connections'] }] };
  const { jobs } = retentionPolicySchema.parse({ ...minimal, spec }).spec;
  expect(jobs).toEqual(spec.jobs);
  expect(jobs!.map(operationsOf)).toEqual([
    ['connections', 'instructions', 'sessions', 'acknowledgements'],
    ['connections', 'sessions'],
  ]);
});

test('kubectl explain says something of every field', () => {
  interface Field {
    description?: string;
    properties?: Record<string, Field>;
    items?: Field;
  }
  const silent = ({ properties = {}, items }: Field, at: string): string[] => [
    ...Object.entries(properties).flatMap(([name, field]) => [
      ...(field.description ? [] : [`${at}.${name}`]),
      ...silent(field, `${at}.${name}`),
    ]),
    ...(items ? silent(items, `${at}[]`) : []),
  ];
  const { versions } = customResourceDefinition().spec as { versions: { schema: { openAPIV3Schema: Field } }[] };
  // The API server itself describes these three.
  const { spec, status } = versions[0]!.schema.openAPIV3Schema.properties!;
  expect([...silent(spec!, 'spec'), ...silent(status!, 'status')]).toEqual([]);
});

test('the CRD has no default inside a list, or inside a map: clients compare these as wholes', () => {
  const defaults = (schema: unknown, at: string, inside: boolean): string[] =>
    typeof schema !== 'object' || schema === null
      ? []
      : Object.entries(schema).flatMap(([key, value]) => {
          const here = `${at}.${key}`;
          if (key === 'default' && inside && !at.endsWith('.properties')) return [here];
          return defaults(value, here, inside || key === 'items' || key === 'additionalProperties');
        });
  expect(defaults({ items: { properties: { default: { default: 1 } } } }, '', false)).toHaveLength(1);
  expect(defaults(customResourceDefinition(), '', false)).toEqual([]);
});

describe('bounds', () => {
  const distinct = (count: number) => Array.from({ length: count }, (_, n) => `status ${n}`);
  const bounded: [field: string, least: unknown, most: unknown, over: unknown[]][] = [
    ['spec.retention.connectionCleanupHours', 1, 36_500, [0, -1, 36_501, 1.5, '48', null]],
    ['spec.retention.instructionRetentionDays', 1, 2_555, [0, 36_501]],
    ['spec.retention.completedSessionRetentionDays', 1, 36_500, [0, 36_501]],
    ['spec.retention.acknowledgementRetentionDays', 365, 36_500, [0, 36_501]],
    ['spec.retention.batchSize', 1, 20_000, [0, 20_001]],
    [
      'spec.retention.statuses.instructions',
      ['a'],
      distinct(20),
      [[], distinct(21), [''], ['a'.repeat(65)], ['a', 'a']],
    ],
    ['spec.guard.maxRowsPerRun', 1, 1_000_000_000_000, [0, 1_000_000_000_001]],
    ['spec.guard.maxPercentOfTable', 1, 100, [0, 101]],
    ['spec.guard.maxPercentOfConnections', 1, 100, [0, 101]],
    ['spec.guard.maxClockDifference', '1s', '87600h', ['0s', '87601h', '5', 'any']],
    ['spec.guard.confirm.instructionRetentionDays', 1, 36_500, [0, 36_501]],
    ['spec.limits.lockTimeout', '1ms', '1h', ['0s', '3601s', '2', '', 'soon']],
    ['spec.limits.statementTimeout', '1s', '24h', ['999ms', '86401s']],
    ['spec.limits.maxDuration', '1s', '168h', ['0s', '169h']],
    ['spec.limits.pauseBetweenBatches', '0s', '1h', ['61m', '-1s']],
    [
      'spec.limits.maxReplicationLag',
      '1Mi',
      '16Ti',
      ['1023Ki', '1048575', '17Ti', '18T', '', '0', '-1Gi', '1.5Gi', '1GB', 1],
    ],
    ['spec.limits.vacuum', false, true, ['yes', 1, null]],
    ['spec.history.runs', 0, 50, [-1, 51]],
    ['spec.history.failedJobs', 1, 100, [0, 101]],
    ['spec.database.schema', 'a', 'a'.repeat(63), ['', 'a'.repeat(64)]],
  ];
  test.each(bounded)('of %s', (field, least, most, over) => {
    expect(problems(field, least)).toBe('');
    expect(problems(field, most)).toBe('');
    for (const value of over) expect(problems(field, value)).toContain(field);
  });
});

test.each([
  'UTC',
  'Zulu',
  'GMT0',
  'GMT-0',
  'EST5EDT',
  'NZ-CHAT',
  'GB-Eire',
  'Etc/GMT+5',
  'America/Port-au-Prince',
  'America/North_Dakota/New_Salem',
  'America/Argentina/ComodRivadavia',
])('the time zone %s may be a name', (zone) => {
  expect(problems('spec.database.timestampTimeZone', zone)).toBe('');
});
/** Each of which is right. */
const longTerms = Array.from({ length: 16 }, () => ({
  topologyKey: 'zone',
  namespaces: Array.from({ length: 64 }, () => 'x'.repeat(63)),
}));

describe('what is wrong is said in a sentence that names the field', () => {
  const wrong: [field: string, value: unknown, sentence: RegExp][] = [
    [
      'spec.preset',
      'Scientific',
      /^spec\.preset: .*"ScientificCompliance"\|"Development"\|"Custom".*\(given: "Scientific"\)$/,
    ],
    ['spec.schedul', '0 3 * * *', /^spec: .*"schedul"/],
    ['spec.schedule', undefined, /^spec\.schedule: /],
    ['spec.schedule', '@every 1h', /^spec\.schedule: @every has no fixed times.*\(given: "@every 1h"\)$/],
    ['spec.schedule', 'TZ=Europe/London 0 3 * * *', /^spec\.schedule: the time zone belongs into spec\.timeZone/],
    ['spec.database.secretRef.name', 'Not_A_Name', /^spec\.database\.secretRef\.name: .*\(given: "Not_A_Name"\)$/],
    ['spec.database.timestampTimeZone', "UTC'; drop", /^spec\.database\.timestampTimeZone: /],
    ...['UTC-5', 'GMT-5', '-5', '+01:00', 'EST5EDT4', 'UTC+0', '<+05>-5', '../UTC', 'A/', 'Etc//UTC'].map(
      (zone): [string, unknown, RegExp] => [
        'spec.database.timestampTimeZone',
        zone,
        /^spec\.database\.timestampTimeZone: must be a name of pg_timezone_names, such as UTC or America\/New_York; an offset such as UTC-5 or -5 is read as POSIX does/,
      ],
    ),
    [
      'spec.limits.maxReplicationLag',
      '1GB',
      /^spec\.limits\.maxReplicationLag: must be a whole number of bytes, or with .* such as 256Mi or 1Gi \(given: "1GB"\)$/,
    ],
    [
      'spec.limits.maxReplicationLag',
      '1k',
      /^spec\.limits\.maxReplicationLag: must be from 1Mi to 16Ti \(given: "1k"\)$/,
    ],
    ['spec.database.tls.mode', 'prefer', /^spec\.database\.tls\.mode: .*"verify-full".*\(given: "prefer"\)$/],
    ['spec.database.tls.mode', 'require', /^spec\.database\.tls: mode disable or require asks for no CA/],
    ['spec.database.password', 'secret', /^spec\.database: .*"password"/],
    [
      'spec.retention.acknowledgementRetentionDays',
      364,
      /^spec\.retention: acknowledgementRetentionDays must not be less/,
    ],
    [
      'spec.retention.instructionRetentionDays',
      2_556,
      /^spec\.retention: acknowledgementRetentionDays must not be less/,
    ],
    ['spec.jobs', [], /^spec\.jobs: /],
    ['spec.jobs', Array.from({ length: 17 }, (_, n) => ({ name: `job-${n}` })), /^spec\.jobs: .*16/],
    ['spec.jobs', [{ name: 'a' }, { name: 'a' }], /^spec\.jobs: names a job twice/],
    ['spec.jobs', [{ name: 'statistics' }], /^spec\.jobs\.0\.name: the job name "statistics" is reserved/],
    ['spec.jobs', [{ name: 'a', operations: ['vacuum'] }], /^spec\.jobs\.0\.operations\.0: .*\(given: "vacuum"\)$/],
    ['spec.jobs', [{ name: 'a', operations: [] }], /^spec\.jobs\.0\.operations: /],
    [
      'spec.jobs',
      [{ name: 'a', operations: ['sessions', 'sessions'] }],
      /^spec\.jobs\.0\.operations: names an operation twice/,
    ],
    ['spec.runner.image', 'mine', /^spec\.runner: .*"image"/],
    ['spec.runner.serviceAccountName', 'admin', /^spec\.runner: .*"serviceAccountName"/],
    ['spec.runner.securityContext.runAsUser', -1, /^spec\.runner\.securityContext\.runAsUser: /],
    ['spec.retention.statuses.sessions', ['ended', 'a\u0085b'], /^spec\.retention\.statuses\.sessions\.1: /],
    [
      'spec.runner.affinity',
      { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: longTerms } },
      /^spec\.runner\.affinity: must be at most 16384 characters of JSON.{0,100}$/,
    ],
    ['spec.runner.affinity', { closeTo: 'me' }, /^spec\.runner\.affinity: .*"closeTo"/],
    ['spec.runner.affinity.nodeAffinity', { text: 'x' }, /^spec\.runner\.affinity\.nodeAffinity: .*"text"/],
    ['kind', 'Policy', /^kind: .*\(given: "Policy"\)$/],
  ];
  test.each(wrong)('%s %j', (field, value, sentence) => {
    expect(problems(field, value)).toMatch(sentence);
  });

  test('several problems are all named', () => {
    const document = policy();
    set(document, 'spec.retention.batchSize', 0);
    set(document, 'spec.guard.maxPercentOfTable', 500);
    expect(explainOf(document)).toMatch(
      /spec\.retention\.batchSize: .*\(given: 0\).*; spec\.guard\.maxPercentOfTable: .*\(given: 500\)/,
    );
  });

  test('a document that is no object is called the document', () => {
    expect(explainOf(null)).toMatch(/^the document: /);
  });
});

describe('acknowledgementRetentionDays ≥ instructionRetentionDays holds for the values in force', () => {
  test.each([
    ['Development', { instructionRetentionDays: 31 }, false],
    ['Development', { instructionRetentionDays: 30 }, true],
    ['Custom', { acknowledgementRetentionDays: 29 }, false],
    ['Custom', { acknowledgementRetentionDays: 30 }, true],
    ['ScientificCompliance', { acknowledgementRetentionDays: 364 }, false],
    ['ScientificCompliance', { acknowledgementRetentionDays: 365 }, true],
    ['Development', { acknowledgementRetentionDays: 10, instructionRetentionDays: 10 }, true],
    ['Development', { acknowledgementRetentionDays: 10, instructionRetentionDays: 11 }, false],
  ] as const)('%s with %j: %s', (preset, retention, holds) => {
    const document = { ...minimal, spec: { ...minimal.spec, preset, retention } };
    expect(retentionPolicySchema.safeParse(document).success).toBe(holds);
  });
});

/** What is said of the example with one field set; '' where all is well. */
function problems(field: string, value: unknown): string {
  const document = policy();
  set(document, field, value);
  return explainOf(document);
}

function explainOf(document: unknown): string {
  const parsed = retentionPolicySchema.safeParse(document);
  return parsed.success ? '' : explain(parsed.error, document);
}

function set(document: Tree, field: string, value: unknown): void {
  const path = field.split('.');
  const parent = path.slice(0, -1).reduce((at, key) => (at[key] ??= {}), document);
  parent[path.at(-1)!] = value as Tree;
}
