import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { specSchema } from '../../src/api/rules.ts';
import { policyIn } from '../../src/cli/policy-file.ts';
import { installOperator } from '../support/controller.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';

const cluster = useCluster();
let folder: string;
let namespace: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retention-policy-file-'));
  await installOperator(cluster);
  namespace = await cluster.createNamespace();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const refused = 'refused';

/** The spec in force of each text by kubectl and the API server, or that one of them refuses it; by the texts' names. */
async function byKubectl(texts: Record<string, string>): Promise<Record<string, unknown>> {
  const names = Object.keys(texts);
  const files = await mkdtemp(join(folder, 'files-'));
  // kubectl goes on after a file that it refuses; each policy has its file's number for a name.
  for (const [index, name] of names.entries()) {
    await writeFile(join(files, `${index}.yaml`), texts[name]!.replaceAll('NAME', `p${index}`));
  }
  const output = '-o=jsonpath={.metadata.name}{"\\t"}{.spec}{"\\n"}';
  const { stdout, stderr } = await cluster.kubectl([
    'create',
    '--dry-run=server',
    '--namespace',
    namespace,
    '--filename',
    files,
    output,
  ]);
  expect(stderr).not.toMatch(/connection refused|namespaces? .*not found|forbidden/);
  const specs: Record<string, unknown> = Object.fromEntries(names.map((name) => [name, refused]));
  for (const line of stdout.split('\n').filter((line) => /^p\d+\t/.test(line))) {
    const [name, spec] = line.split('\t') as [string, string];
    specs[names[Number(name.slice(1))]!] = specSchema.parse(JSON.parse(spec));
  }
  return specs;
}

/** The same by the command line. */
function byCommandLine(texts: Record<string, string>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, specOf(text)]));
}

function specOf(text: string): unknown {
  try {
    return policyIn(text.replaceAll('NAME', 'p'), 'policy.yaml').spec;
  } catch {
    return refused;
  }
}

/** Fails unless both make the same of every text, and take some, and refuse some. */
async function expectAgreement(texts: Record<string, string>): Promise<Record<string, unknown>> {
  const theirs = await byKubectl(texts);
  expect(byCommandLine(texts)).toEqual(theirs);
  expect(new Set(Object.values(theirs).map((spec) => spec === refused))).toEqual(new Set([true, false]));
  return theirs;
}

const head = 'apiVersion: retention.agentdata.io/v1alpha1\nkind: RetentionPolicy\nmetadata: {name: NAME}\n';
const database = '  database: {secretRef: {name: db}}\n';
const schedule = '  schedule: 0 3 * * *\n';
const policyWith = (field: string) => `${head}spec:\n${database}${schedule}${field}`;

/** A field of every kind, with `_` where the spelling goes. */
const fields = {
  'a whole number': policyWith('  retention: {acknowledgementRetentionDays: 36500, instructionRetentionDays: _}\n'),
  'a whole number in a block': policyWith('  history:\n    runs: _\n'),
  'a large number': policyWith('  guard: {maxRowsPerRun: _}\n'),
  'a boolean': policyWith('  suspend: _\n'),
  'a boolean with the default true': policyWith('  limits: {vacuum: _}\n'),
  'text with a default': `${head}spec:\n  database: {secretRef: {name: db}, schema: _}\n${schedule}`,
  'text of few characters': `${head}spec:\n  database: {secretRef: {name: db}, timestampTimeZone: _}\n${schedule}`,
  'text that is required': `${head}spec:\n  database: {secretRef: {name: _}}\n${schedule}`,
  'a choice': policyWith('  preset: _\n'),
  'a duration': policyWith('  limits: {maxDuration: _}\n'),
  'bytes, or nothing': policyWith('  limits:\n    maxReplicationLag: _\n'),
  'a number or text': policyWith('  runner: {resources: {limits: {cpu: _}}}\n'),
  'a value of a map': policyWith('  runner: {labels: {a: _}}\n'),
  'an entry of a list': policyWith('  retention: {statuses: {sessions: [ended, _]}}\n'),
  'a list': policyWith('  jobs: _\n'),
  'an object with defaults': policyWith('  guard: _\n'),
  'an object without': policyWith('  statistics: _\n'),
  'an object of which nothing is known': policyWith('  runner: {affinity: {nodeAffinity: _}}\n'),
  'the spec': `${head}spec: _\n`,
};

const spellings = [
  ...'365 0365 0o365 0O17 0b101 0B11 0x1F 08 0388 1_000 1__0 _1 1_ +5 -0 0 0b12 0x 1:30 190:20:30'.split(' '),
  ...'365.0 3.65e2 1.5 5. .5 .5e1 1e3 1E+3 1e400 99999999999999999999 1.2.3 .inf .nan 2026-11-28'.split(' '),
  ...'y Y yes Yes YES yES n no on ON off true TRUE tRUE false "true" "yes" "365" \'0365\''.split(' '),
  ...'null Null NULL nULL ~ "null" "~" "" 2s 1h30m 256Mi 500m 1Gi Custom custom Development'.split(' '),
  ...'é << a#b a:b *none [] {} [~] "Devel\\x6fpment"'.split(' '),
  ...['!!str 365', '!!int "0365"', '!!int 3.0', '!!float 365', '!!bool yes', '!!bool 1', '!!null ~', '!!null x'],
  ...['!<tag:yaml.org,2002:int> 0365', '! 365', '!own 365', '!!own 365', '', 'a b', '[{name: x}]', '{unknown: ~}'],
  ...[
    '{schedule: 0 3 * * *}',
    '{schedule: ~}',
    '{maxPercentOfTable: ~}',
    '{maxPercentOfTable: 0x10, maxRowsPerRun: ~}',
  ],
  '{database: {secretRef: {name: db}, schema: ~, tls: ~}, schedule: "@daily", guard: ~, limits: {maxDuration: ~}}',
  '{a: {b: ~}}',
];

describe('a file reads as kubectl and the API server read it:', () => {
  it.each(Object.entries(fields))('%s, however it is spelled', async (_, field) => {
    const texts = Object.fromEntries(spellings.map((spelling) => [spelling, field.replace('_', () => spelling)]));
    await expectAgreement(texts);
  });

  it('a key of a map, but for numbers that are not whole, which are refused', async () => {
    const field = policyWith('  runner: {nodeSelector: {_: a}}\n');
    const broken = '365.0 3.65e2 1.5 5. .5 .5e1 1e3 1E+3 .inf .nan 08 0388 99999999999999999999'.split(' ');
    broken.push('!!float 365');
    const others = spellings.filter((spelling) => !broken.includes(spelling));
    await expectAgreement(Object.fromEntries(others.map((x) => [x, field.replace('_', () => x)])));
    for (const spelling of broken) expect(specOf(field.replace('_', spelling)), spelling).toBe(refused);
  });

  it('numbers of YAML 1.1, and others', async () => {
    const days = (spelling: string) => fields['a whole number'].replace('_', spelling);
    const specs = await expectAgreement(
      Object.fromEntries(['0365', '365', '0388', '0x16d', '3.65e2', '0365.0', '1_0', '1.5'].map((x) => [x, days(x)])),
    );
    const found = Object.entries(specs).map(([spelling, spec]) => [
      spelling,
      (spec as { retention?: { instructionRetentionDays: number } }).retention?.instructionRetentionDays,
    ]);
    expect(Object.fromEntries(found)).toEqual({
      ...{ '0365': 245, '365': 365, '0388': 388, '0x16d': 365, '3.65e2': 365, '0365.0': 365, '1_0': 10 },
      '1.5': undefined,
    });
  });

  it('nulls, at every level', async () => {
    const nothing = ['retention', 'jobs', 'statistics', 'guard', 'limits', 'history', 'runner', 'preset', 'timeZone'];
    await expectAgreement(
      Object.fromEntries(
        [
          ...[...nothing, 'schedule', 'database', 'unknown'].map((name) => `  ${name}: null\n`),
          '  retention: {statuses: null}\n',
          '  retention: {statuses: {sessions: null}}\n',
          '  retention: {statuses: {sessions: [null]}}\n',
          '  retention: {unknown: null}\n',
          '  jobs: [{name: a, schedule: null, operations: null}]\n',
          '  jobs: [{name: null}]\n',
          '  jobs: [null]\n',
          '  statistics: {schedule: null}\n',
          '  runner: {labels: {a: null}, resources: {limits: {cpu: null}}, tolerations: [{key: null}]}\n',
          '  runner: {tolerations: [null]}\n',
          '  runner: {affinity: null, securityContext: {seccompProfile: null}}\n',
          '  runner: {affinity: {nodeAffinity: null}}\n',
        ].map((field) => [
          field,
          `${head}spec:\n${['schedule', 'database'].includes(field.trim().split(':')[0]!) ? '' : database}${field.includes('  schedule') ? '' : schedule}${field}`,
        ]),
      ),
    );
  });

  it('the rest of a document', async () => {
    const policy = policyWith('  guard: {maxPercentOfTable: 7}\n');
    const json = JSON.stringify({
      apiVersion: 'retention.agentdata.io/v1alpha1',
      kind: 'RetentionPolicy',
      metadata: { name: 'NAME', annotations: { a: 'b' } },
      spec: { database: { secretRef: { name: 'db' } }, schedule: '0 3 * * *', guard: { maxPercentOfTable: 7 } },
    });
    const list = (kind: string, item: string) => `{"apiVersion": "v1", "kind": "${kind}", "items": [${item}]}`;
    const configMap = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cNAME}\n';
    await expectAgreement({
      'an unknown field of the spec': `${policy}  dryrun: true\n`,
      'a field of the spec beside it': `${policy}dryRun: true\n`,
      'a field of the spec in the metadata': policy.replace('NAME}', 'NAME, suspend: true}'),
      'a field twice': `${policy}  guard: {maxPercentOfTable: 8}\n`,
      'a field twice, in quotes': `${policy}  "guard": {maxPercentOfTable: 8}\n`,
      'a field in another case': policy.replace('guard', 'Guard'),
      'an alias': policyWith('  suspend: &no false\n  dryRun: *no\n'),
      'an anchor that is named again': policyWith('  suspend: &a false\n  dryRun: &a true\n  limits: {vacuum: *a}\n'),
      'a merge': policyWith(
        '  retention: &r {batchSize: 5}\n  guard: {<<: {maxPercentOfTable: 9}, maxRowsPerRun: 4}\n',
      ),
      'a merge before what it overrides': policyWith('  guard: {maxPercentOfTable: 9, <<: {maxPercentOfTable: 4}}\n'),
      'a merge of several': policyWith(
        '  guard: {<<: [{maxPercentOfTable: 9}, {maxPercentOfTable: 4, maxRowsPerRun: 3}]}\n',
      ),
      'a merge of nothing': policyWith('  guard: {<<: ~, maxPercentOfTable: 4}\n'),
      'a merge in quotes': policyWith('  guard: {"<<": {maxPercentOfTable: 4}}\n'),
      'a tab': policyWith('  suspend:\ttrue\n'),
      'a tab that indents': policyWith('  guard:\n\tmaxPercentOfTable: 3\n'),
      'lines that end as on Windows': policy.replaceAll('\n', '\r\n'),
      'a byte order mark': `\ufeff${policy}`,
      'a byte order mark before JSON': `\ufeff${json}`,
      'a directive': `%YAML 1.1\n---\n${policy}`,
      'no end of line': policy.trimEnd(),
      JSON: json,
      'JSON on several lines, with tabs': JSON.stringify(JSON.parse(json), null, '\t'),
      'JSON with a number of YAML': json.replace(':7', ':0x7'),
      'JSON with a broken number': json.replace(':7', ':7.0'),
      'JSON with a field twice': json.replace('"guard"', '"guard":{"maxPercentOfTable":3},"guard"'),
      'JSON with a line separator': json.replace('"b"', '"\u2028"'),
      'JSON behind JSON': `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"cNAME"}}\n${json}`,
      'empty documents around it': `---\n# nothing\n---\n\n---\n${policy}---\n---\n`,
      'another object before it': `${configMap}--- # the policy\n${policy}`,
      'something behind ---': `--- {}\n${policy}`,
      'dashes in a text': policyWith('  runner:\n    annotations:\n      a: |\n---\n        b\n'),
      'a document behind dots': `${configMap}...\n${policy}`,
      'a list': list('List', json),
      'a list of the kind': list('RetentionPolicyList', json).replace('"v1"', '"retention.agentdata.io/v1alpha1"'),
      'a list in a list': list('List', list('List', json)),
      'a list without a policy': list('List', ''),
      'a label that is no text': policy.replace('NAME}', 'NAME, labels: {a: 1}}'),
      'a name that is no text': policy.replace('name: NAME', 'name: 1'),
      'a name that is none': policy.replace('name: NAME', 'name: A_b'),
      'a name that is too long': policy.replace('name: NAME', `name: ${'x'.repeat(64)}`),
      'no name': policy.replace('name: NAME', ''),
      'another version': policy.replace('v1alpha1', 'v1'),
      'what is printed of a stored one': policy
        .replace(
          'NAME}',
          'NAME, uid: u, resourceVersion: "", generation: 3, creationTimestamp: null, managedFields: []}',
        )
        .concat('status: {observedGeneration: 3}\n'),
      'an escaped line separator': policyWith('  runner: {annotations: {a: "\\u2028"}}\n'),
      'a control character': policyWith('  runner: {annotations: {a: "\u0007"}}\n'),
    });
  });
});

it('what kubectl prints of a stored policy reads as that policy', async () => {
  const text = policyWith('  guard: {maxPercentOfTable: 7}\n').replace('NAME', 'stored');
  const args = ['--namespace', namespace];
  expect(await cluster.kubectl(['create', ...args, '-f', '-'], { input: text })).toMatchObject({ code: 0 });
  for (const what of [['retentionpolicy', 'stored'], ['retentionpolicies']]) {
    for (const format of ['yaml', 'json']) {
      const printed = await cluster.kubectl(['get', ...what, ...args, '--show-managed-fields', '-o', format]);
      expect(policyIn(printed.stdout, '-')).toMatchObject({
        metadata: { name: 'stored', uid: expect.any(String) },
        spec: policyIn(text, '-').spec,
      });
    }
  }
});
