import { afterEach, describe, expect, it } from 'vitest';
import { specSchema } from '../../src/api/rules.ts';
import { installOperator } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf, policyManifest } from '../support/policies.ts';
import { useController } from '../support/use-controller.ts';

const cluster = useCluster();
const policies = useController(cluster);

const database = { secretRef: { name: 'db' } };
const many = (count: number) => Array.from({ length: count }, (_, index) => String(index));
const required = 'requiredDuringSchedulingIgnoredDuringExecution';
const longTerm = { topologyKey: 'zone', namespaces: many(64).map((name) => name.padEnd(63, 'x')) };
const nodeTerms = (nodeSelectorTerms: unknown) => ({
  runner: { affinity: { nodeAffinity: { [required]: { nodeSelectorTerms } } } },
});
const job = (fields: object) => ({ jobs: [{ name: 'a', ...fields }] });

/** What is wrong, the fields of the spec that make it so, and what kubectl has to say. */
const refused: [string, Record<string, unknown>, RegExp][] = [
  ['no database', { database: undefined }, /spec\.database: Required/],
  ['no schedule', { schedule: undefined }, /spec\.schedule: Required/],
  ['an unknown field', { retain: 3 }, /unknown field "spec\.retain"/],
  ['an unknown field deep within', { retention: { days: 3 } }, /unknown field "spec\.retention\.days"/],
  ['an image in spec.runner', { runner: { image: 'evil' } }, /unknown field "spec\.runner\.image"/],
  ['an unknown preset', { preset: 'Forever' }, /spec\.preset: Unsupported value: "Forever"/],
  [
    'a period of zero',
    { retention: { instructionRetentionDays: 0 } },
    /instructionRetentionDays.*greater than or equal to 1/,
  ],
  ['a period that is too long', { retention: { connectionCleanupHours: 36_501 } }, /connectionCleanupHours.*36500/],
  ['a period in words', { retention: { instructionRetentionDays: 'forever' } }, /instructionRetentionDays.*integer/],
  ['a broken number of days', { retention: { instructionRetentionDays: 1.5 } }, /instructionRetentionDays.*integer/],
  ['a batch that is too large', { retention: { batchSize: 20_001 } }, /batchSize.*20000/],
  ['no statuses', { retention: { statuses: { sessions: [] } } }, /statuses\.sessions/],
  ['a status twice', { retention: { statuses: { sessions: ['ended', 'ended'] } } }, /Duplicate value/],
  [
    'a status with a control character',
    { retention: { statuses: { sessions: ['a\u0085b'] } } },
    /statuses\.sessions\[0\].*should match/,
  ],
  [
    'acknowledgements kept for less than instructions',
    { retention: { acknowledgementRetentionDays: 364 } },
    /acknowledgementRetentionDays must not be less than instructionRetentionDays/,
  ],
  [
    'instructions kept for longer than a preset’s acknowledgements',
    { preset: 'Development', retention: { instructionRetentionDays: 31 } },
    /acknowledgementRetentionDays must not be less than instructionRetentionDays/,
  ],
  ['a Secret without a name', { database: { secretRef: {} } }, /spec\.database\.secretRef\.name: Required/],
  ['a Secret whose name is none', { database: { secretRef: { name: 'My Secret' } } }, /secretRef\.name/],
  ['a schema with a NUL', { database: { ...database, schema: 'a\u0000b' } }, /spec\.database\.schema.*should match/],
  ['an unknown TLS mode', { database: { ...database, tls: { mode: 'prefer' } } }, /tls\.mode: Unsupported value/],
  [
    'a CA that would not be looked at',
    { database: { ...database, tls: { mode: 'require', caSecretRef: { name: 'ca' } } } },
    /leave caSecretRef out/,
  ],
  [
    'a time zone of the database with a quote',
    { database: { ...database, timestampTimeZone: "UTC'" } },
    /timestampTimeZone/,
  ],
  ...['UTC-5', 'GMT-5', '-5', 'EST5EDT4'].map((timestampTimeZone): [string, Record<string, unknown>, RegExp] => [
    `the time zone ${timestampTimeZone}, which is an offset`,
    { database: { ...database, timestampTimeZone } },
    /timestampTimeZone: Invalid value: .*must be a name of pg_timezone_names.*the opposite of what it looks like/,
  ]),
  ['an empty schedule', { schedule: '' }, /spec\.schedule/],
  ['@every', { schedule: '@every 1h' }, /@every has no fixed times/],
  ['a time zone in the schedule', { schedule: 'TZ=UTC 0 3 * * *' }, /belongs into spec\.timeZone/],
  ['a schedule in words', { schedule: 'daily' }, /spec\.schedule.*must be a cron expression of five fields/],
  ['a minute that no clock has', { schedule: '61 * * * *' }, /spec\.schedule.*minute \(0-59\)/],
  ['a cron of six fields', { schedule: '0 0 3 * * *' }, /spec\.schedule.*five fields/],
  ['a bad schedule of a job', job({ schedule: '0 3 * *' }), /spec\.jobs\[0\]\.schedule.*five fields/],
  ['a time zone of another world', { timeZone: 'Mars/Phobos' }, /spec\.timeZone.*IANA/],
  ['no jobs', { jobs: [] }, /spec\.jobs/],
  ['17 jobs', { jobs: many(17).map((name) => ({ name })) }, /spec\.jobs.*16/],
  ['a job twice', { jobs: [{ name: 'a' }, { name: 'a' }] }, /Duplicate value/],
  ['a job called statistics', { jobs: [{ name: 'statistics' }] }, /reserved for spec\.statistics/],
  ['a job whose name is none', { jobs: [{ name: 'Nightly Run' }] }, /spec\.jobs\[0\]\.name/],
  ['an unknown operation', job({ operations: ['vacuum'] }), /operations\[0\]: Unsupported value: "vacuum"/],
  ['an operation twice', job({ operations: ['sessions', 'sessions'] }), /Duplicate value/],
  ['no operations', job({ operations: [] }), /operations/],
  ['statistics without a schedule', { statistics: {} }, /spec\.statistics\.schedule: Required/],
  ['suspend in words', { suspend: 'yes' }, /spec\.suspend.*boolean/],
  ['a guard of more than everything', { guard: { maxPercentOfTable: 101 } }, /maxPercentOfTable.*100/],
  ['a difference of clocks of no length', { guard: { maxClockDifference: '0s' } }, /must be from 1s to 87600h/],
  [
    'a confirmed value that is none',
    { guard: { confirm: { instructionRetentionDays: 0 } } },
    /confirm\.instructionRetentionDays/,
  ],
  ['a duration without a unit', { limits: { lockTimeout: '2' } }, /limits\.lockTimeout/],
  ['a duration that is too long', { limits: { maxDuration: '169h' } }, /must be from 1s to 168h/],
  ['an amount of bytes that is none', { limits: { maxReplicationLag: '1GB' } }, /limits\.maxReplicationLag/],
  ['an amount of bytes that is too small', { limits: { maxReplicationLag: '1023Ki' } }, /must be from 1Mi to 16Ti/],
  [
    'an amount of bytes that is too large',
    { limits: { maxReplicationLag: '99999999999999Ti' } },
    /must be from 1Mi to 16Ti/,
  ],
  ['too much history', { history: { runs: 51 } }, /history\.runs.*50/],
  [
    'too many labels',
    { runner: { labels: Object.fromEntries(many(33).map((key) => [`l${key}`, 'x'])) } },
    /runner\.labels/,
  ],
  ['a quantity that is none', { runner: { resources: { limits: { memory: 'lots' } } } }, /limits\.memory/],
  [
    'an affinity that is none',
    { runner: { affinity: { closeTo: 'me' } } },
    /unknown field "spec\.runner\.affinity\.closeTo"/,
  ],
  [
    'an operator of an affinity that is none',
    nodeTerms([{ matchExpressions: [{ key: 'a', operator: '=' }] }]),
    /operator/,
  ],
  ['an affinity with too many terms', nodeTerms(many(17).map(() => ({}))), /nodeSelectorTerms/],
  ['a toleration that is none', { runner: { tolerations: [{ effect: 'Never' }] } }, /tolerations\[0\]\.effect/],
];

/** What only the making of the CronJob can show, and the condition it ends in. */
const stalled: [string, Record<string, unknown>, { reason: string; message: RegExp }][] = [
  [
    'a range that ends before it begins',
    { schedule: '5-3 * * * *' },
    { reason: 'InvalidSchedule', message: /spec\.schedule.*beginning of range \(5\) beyond end of range \(3\)/ },
  ],
  [
    'an unknown time zone',
    { timeZone: 'Europe/Atlantis' },
    { reason: 'InvalidSchedule', message: /spec\.timeZone.*Europe\/Atlantis/ },
  ],
  [
    'a bad schedule of one job of two',
    {
      jobs: [
        { name: 'a', operations: ['sessions'] },
        { name: 'b', schedule: '0 3 * * sat-sun', operations: ['connections'] },
      ],
    },
    { reason: 'InvalidSchedule', message: /spec\.schedule/ },
  ],
  [
    'a node selector that is none',
    { runner: { nodeSelector: { 'a b': 'c' } } },
    { reason: 'InvalidRunner', message: /nodeSelector/ },
  ],
  [
    'a label that nobody has allowed',
    { runner: { labels: { team: 'c' } } },
    { reason: 'RunnerNotAllowed', message: /spec\.runner\.labels: "team" is not allowed/ },
  ],
  [
    'a request over its limit',
    { runner: { resources: { limits: { cpu: '1' }, requests: { cpu: '2' } } } },
    { reason: 'InvalidRunner', message: /requests/ },
  ],
  [
    'an affinity that no Pod may have',
    { runner: { affinity: { podAffinity: { [required]: [{ topologyKey: 'a b' }] } } } },
    { reason: 'InvalidRunner', message: /affinity/ },
  ],
  [
    'an affinity that is too long',
    { runner: { affinity: { podAffinity: { [required]: Array.from({ length: 16 }, () => longTerm) } } } },
    { reason: 'InvalidSpec', message: /runner\.affinity: must be at most 16384 characters of JSON/ },
  ],
];

const specWith = (fields: Record<string, unknown>) =>
  policyManifest(policies.namespace, 'p', { database, schedule: '0 3 * * *', ...fields });
const kubectlApply = (manifest: object) => cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(manifest) });

describe('the API server refuses, and so does the program,', () => {
  it.each(refused)('%s', async (_, fields, words) => {
    const manifest = specWith(fields);
    const { code, stderr } = await kubectlApply(manifest);
    expect(stderr).toMatch(words);
    expect(code).toBe(1);
    expect(specSchema.safeParse(manifest.spec).success).toBe(false);
  });

  it('a name that is longer than a label value', async () => {
    const { code, stderr } = await kubectlApply(policyManifest(policies.namespace, 'x'.repeat(64)));
    expect(stderr).toContain('metadata.name must be no longer than 63 characters');
    expect(code).toBe(1);
  });
});

describe('the controller says of', () => {
  it.each(stalled)('%s what is wrong, and goes on', async (_, fields, { reason, message }) => {
    const { code } = await kubectlApply(specWith(fields));
    expect(code).toBe(0);
    const status = await policies.settled('p', 'Stalled', 'True');
    const condition = conditionOf(status, 'Stalled')!;
    expect(condition.reason).toBe(reason);
    expect(condition.message).toMatch(message);
    expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'False', reason, observedGeneration: 1 });
    expect((await cluster.batch.listNamespacedCronJob({ namespace: policies.namespace })).items).toEqual([]);

    // Another policy is served meanwhile, and this one when it is corrected.
    await policies.apply('other', { database: { secretRef: { name: 'other' } } });
    await policies.settled('other', 'Ready', 'True');
    const corrected = Object.fromEntries(Object.keys(fields).map((key) => [key, undefined]));
    await kubectlApply(specWith({ ...corrected, schedule: '0 4 * * *' }));
    const cured = await policies.settled('p', 'Ready', 'True');
    expect(conditionOf(cured, 'Stalled')).toBeUndefined();
  });
});

/** The edges of what is allowed. */
const accepted: Record<string, unknown>[] = [
  {},
  {
    preset: 'Custom',
    retention: { connectionCleanupHours: 36_500, acknowledgementRetentionDays: 36_500, batchSize: 20_000 },
  },
  { retention: { instructionRetentionDays: 1, acknowledgementRetentionDays: 1, batchSize: 1 } },
  { preset: 'Development', retention: { instructionRetentionDays: 30 } },
  { schedule: '@daily', timeZone: 'America/Argentina/Buenos_Aires' },
  { database: { ...database, tls: { caSecretRef: { name: 'ca' } } } },
  { database: { ...database, tls: { mode: 'disable' }, schema: 'Agent "Tables"', timestampTimeZone: 'Etc/GMT+5' } },
  { jobs: [{ name: 'x'.repeat(40), operations: ['acknowledgements', 'connections'] }] },
  { limits: { lockTimeout: '1ms', statementTimeout: '24h', maxDuration: '168h', pauseBetweenBatches: '0s' } },
  { limits: { maxReplicationLag: '1Mi', vacuum: false } },
  { limits: { maxReplicationLag: '16384Gi', vacuum: true } },
  { limits: { maxReplicationLag: '1048576' } },
  { limits: { maxDuration: '1h30m' }, history: { runs: 0, successfulJobs: 0, failedJobs: 100 } },
  { guard: { maxRowsPerRun: 1_000_000_000_000, maxPercentOfTable: 100 } },
  {
    runner: {
      resources: { limits: { cpu: 1, memory: '1Gi' } },
      tolerations: [{ operator: 'Exists' }],
      affinity: { nodeAffinity: {} },
    },
  },
  {
    runner: {
      affinity: {
        nodeAffinity: {
          [required]: {
            nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n'] }] }],
          },
          preferredDuringSchedulingIgnoredDuringExecution: [
            {
              weight: 1,
              preference: { matchExpressions: [{ key: 'example.io/disk', operator: 'Gt', values: ['5'] }] },
            },
          ],
        },
        podAffinity: { [required]: [{ labelSelector: { matchLabels: { app: 'db' } }, topologyKey: 'zone' }] },
        podAntiAffinity: {
          preferredDuringSchedulingIgnoredDuringExecution: [
            {
              weight: 100,
              podAffinityTerm: {
                labelSelector: { matchExpressions: [{ key: 'app', operator: 'Exists' }] },
                namespaceSelector: {},
                namespaces: ['a'],
                topologyKey: 'kubernetes.io/hostname',
                matchLabelKeys: ['tier'],
                mismatchLabelKeys: ['team'],
              },
            },
          ],
        },
      },
    },
  },
  {
    runner: {
      securityContext: { runAsUser: 2_147_483_647, seccompProfile: { type: 'Unconfined' } },
      imagePullSecrets: [{ name: 'a' }],
    },
  },
];

describe('the API server, the program and the controller take', () => {
  it.each(accepted.map((fields) => [JSON.stringify(fields), fields] as const))('%s', async (_, fields) => {
    const manifest = specWith(fields);
    expect(specSchema.safeParse(manifest.spec).error).toBeUndefined();
    const { stderr, code } = await kubectlApply(manifest);
    expect(code, stderr).toBe(0);
    // Nothing is wrong with it; at most it keeps the audit trail short.
    expect(stderr).toMatch(/^(Warning: [^\n]*audit trail is shorter[^\n]*\n)?$/);
    // The defaults that the API server fills in are the program's own.
    const stored = (await policies.get('p')).spec;
    expect(specSchema.parse(stored)).toEqual(specSchema.parse(manifest.spec));
    await policies.settled('p', 'Ready', 'True');
  });
});

describe('a policy that an older API server took', () => {
  const name = 'retentionpolicies.retention.agentdata.io';

  /** As it was before batchSize had a limit. */
  async function loosenDefinition(): Promise<void> {
    const definition = JSON.parse((await cluster.kubectl(['get', 'crd', name, '-o', 'json'])).stdout);
    const { spec } = definition.spec.versions[0].schema.openAPIV3Schema.properties;
    delete spec.properties.retention.properties.batchSize.maximum;
    const { code, stderr } = await cluster.kubectl(['replace', '-f', '-'], { input: JSON.stringify(definition) });
    if (code !== 0) throw new Error(stderr);
  }
  afterEach(() => installOperator(cluster));

  it('is Stalled with the field that is wrong, and the controller goes on', async () => {
    await loosenDefinition();
    const manifest = specWith({ retention: { batchSize: 50_000 } });
    await eventually('the bad policy to be taken', async () => (await kubectlApply(manifest)).code === 0);
    const status = await policies.settled('p', 'Stalled', 'True');
    expect(conditionOf(status, 'Stalled')).toMatchObject({ reason: 'InvalidSpec', observedGeneration: 1 });
    expect(conditionOf(status, 'Stalled')!.message).toMatch(/: retention\.batchSize: .*\(given: 50000\)$/);
    await policies.apply('other', { database: { secretRef: { name: 'other' } } });
    await policies.settled('other', 'Ready', 'True');
    await kubectlApply(specWith({ retention: { batchSize: 500 } }));
    await policies.settled('p', 'Ready', 'True');
  });
});
