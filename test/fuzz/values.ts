import fc from 'fast-check';

type Strings = fc.Arbitrary<string>;

/** Text that programs are known to stumble over. */
export const oddText: Strings = fc.constantFrom(
  '',
  ' ',
  '0',
  'null',
  '__proto__',
  'constructor',
  'toString',
  'a\u0000b',
  '\u0085',
  '\u2028',
  '\ufeff',
  '\ud800',
  '𝒜'.repeat(40),
  'é'.repeat(63),
  'line\nbreak',
  '"; drop table agentinstruction; --',
  '{{.Values}}',
  '$(PATH)',
  '../../etc/passwd',
  'x'.repeat(300),
  'x'.repeat(5_000),
);

const field = (min: number, max: number) => {
  const number = fc.integer({ min, max }).map(String);
  const range = fc.tuple(number, number).map(([from, to]) => `${from}-${to}`);
  const step = fc.integer({ min: 0, max: 2 * max }).map((by) => `*/${by}`);
  const list = fc.array(number, { minLength: 1, maxLength: 4 }).map((values) => values.join(','));
  return fc.oneof({ weight: 4, arbitrary: number }, range, step, list, fc.constant('*'));
};

/** Five fields, mostly right; the minute is one number, since the controller manager would run the others now. */
const cron: Strings = fc
  .tuple(fc.nat(59).map(String), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
  .map((fields) => fields.join(' '));

const schedule: Strings = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom('17 3 * * *', '0 0 1 1 *', '@yearly', '@monthly') },
  { weight: 8, arbitrary: cron },
  // What only Kubernetes refuses, and so makes Stalled.
  { weight: 5, arbitrary: fc.constantFrom('5-3 * * * *', '0 20-4 * * *', '0 3 * * sat-sun', '0 3 28-2 * *') },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      '0 0 31 2 *',
      '0 0 29 2 *',
      '0 0 * * 7',
      '? ? * * ?',
      '0 3 * jan-dec sun',
      '0 3 L * *',
      '0 3 * * 1#2',
      '61 * * * *',
      '*/90 3 * * *',
      '0 3 * *',
      '0 0 3 * * *',
      ' 0  3\t* * * ',
      '0 3 * * *\n',
      '٣ 3 * * *',
      '-1 3 * * *',
      '9999999999999999999 3 * * *',
      '@every 1h',
      '@reboot',
      '@annually ',
      'TZ=UTC 0 3 * * *',
      'CRON_TZ=UTC 0 3 * * *',
      '* * * * *',
      'x',
    ),
  },
);

const mostly = (right: string[], odd: string[]): Strings =>
  fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...right) }, fc.constantFrom(...odd));

const timeZone = mostly(
  ['Europe/London', 'Etc/UTC', 'America/Argentina/Buenos_Aires'],
  [
    'utc',
    'Local',
    'EST5EDT',
    'posix/Europe/London',
    'right/UTC',
    'europe/london',
    'Factory',
    '+01:00',
    'Mars/Olympus',
    'Europe/Atlantis',
    'America/El_Dorado',
    'Etc/Nowhere',
    '../../etc/passwd',
  ],
);

const instant: Strings = fc
  .date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true })
  .map((date) => date.toISOString());
/** Of what the schema takes for a time. */
export const dateTime: Strings = fc.oneof(
  { weight: 20, arbitrary: instant },
  fc.constantFrom('2026-03-01T03:00:00+14:00', '9999-12-31T23:59:60Z', '2026-02-30T03:00:00Z', '2026-03-01 03:00:00'),
);
/** Of what it takes for text. */
const time: Strings = fc.oneof(
  { weight: 6, arbitrary: instant },
  fc.constantFrom(
    '2026-03-01T03:00:00Z',
    '2026-03-01T03:00:00.123456Z',
    '2026-03-01T03:00:00+14:00',
    '2026-02-30T25:61:61Z',
    '+275760-09-13T00:00:00.000Z',
    '0000-00-00T00:00:00Z',
    '2026',
    'yesterday',
    '',
  ),
);

/** What means something in a field of this name; the schema says of them no more than that they are text. */
export const meaningful: Readonly<Record<string, Strings>> = {
  schedule,
  timeZone,
  timestampTimeZone: mostly(['UTC', 'Europe/London', 'Etc/GMT+5'], ['Mars/Olympus', '../../etc/passwd', '+01:00']),
  lockTimeout: mostly(['1ms', '2s', '1h', '0h60m'], ['0s', '61m', '999999999h']),
  statementTimeout: mostly(['1s', '60s', '24h'], ['0s', '999ms', '25h']),
  maxDuration: mostly(['1s', '1h', '168h', '1h30m'], ['0s', '169h', '1ms']),
  pauseBetweenBatches: mostly(['0s', '10ms', '1h'], ['2h', '-1s']),
  maxReplicationLag: mostly(['1Mi', '256Mi', '16Ti', '1048576'], ['0', '1', '17Ti']),
  key: mostly(['ca.crt', 'a', 'example.com'], ['node.kubernetes.io/unreachable', 'a b', '']),
  localhostProfile: fc.constantFrom('a.json', '/etc/passwd', '../x'),
  type: fc.constantFrom('Ready', 'Stalled', 'Reconciling', 'LastRunSucceeded', 'IndexAdvised', 'Foreign'),
  reason: fc.constantFrom('Scheduled', 'Overlap', 'NameConflict', 'FormerPolicyRemains', 'Overdue', 'no words'),
  name: mostly(['cleanup', 'nightly', 'heartbeat', 'a'], ['statistics']),
  job: mostly(['cleanup', 'statistics', 'nightly', 'a'], ['']),
  cronJob: fc.constantFrom('nightly', 'a-cleanup', ''),
  startTime: time,
  completionTime: time,
  observedAt: time,
  lastSuccessTime: time,
  scheduledSince: time,
  nextRun: time,
};

/** Keys of maps such as labels, node selectors, quantities. */
export const mapKey: Strings = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom('app', 'example.com/team', 'cpu', 'memory', 'ephemeral-storage', 'constructor', 'a.b'),
  },
  fc.constantFrom(
    'toString',
    '__proto__',
    'hugepages-2Mi',
    'nvidia.com/gpu',
    'retention.agentdata.io/policy',
    'batch.kubernetes.io/job-name',
    'kubernetes.io/os',
    'a b',
    'f:x',
    '.',
    '',
    'x'.repeat(64),
    `${'x'.repeat(254)}/y`,
  ),
);

/** Any JSON, in which fields of policies turn up now and then. */
export function anyJson(knownKeys: readonly string[]): fc.Arbitrary<unknown> {
  const key = fc.oneof(fc.string(), oddText, { weight: 3, arbitrary: fc.constantFrom(...knownKeys) });
  const values = [fc.boolean(), fc.integer(), fc.double(), fc.string(), fc.constant(null), oddText];
  return fc.oneof(
    { weight: 3, arbitrary: fc.object({ key, values, maxDepth: 4, maxKeys: 6 }) },
    fc.json().map((text): unknown => JSON.parse(text)),
    fc.constantFrom(null, true, 0, -1, 1.5, 1e308, '', [], {}, [[]], [null], [{}]),
  );
}
