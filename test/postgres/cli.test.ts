import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { suspendAnnotation } from '../../src/api/policy.ts';
import { type RunReport, runReportSchema } from '../../src/api/run-result.ts';
import { cleanupOperations } from '../../src/api/spec.ts';
import { policyOf } from '../../src/cli/policy.ts';
import {
  addConnection,
  addInstruction,
  addInstructions,
  addOldAcknowledgements,
  countOf,
  emptyTables,
} from '../support/data/due-rows.ts';
import { eventually } from '../support/eventually.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { createLogin, expectNoSecret, type Login } from '../support/postgres/login.ts';
import { blocks, pidOf } from '../support/postgres/sessions.ts';
import { freePort } from '../support/processes.ts';
import { RetentionProcesses } from '../support/retention-process.ts';

const processes = new RetentionProcesses();
let folder: string;
let database: TestDatabase;
let login: Login;
/** The environment that psql reads. */
let pg: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retention-cli-'));
  database = await createDatabase({ template: 'no-action' });
  login = await createLogin(database);
  const { hostname, port } = new URL(login.url);
  pg = {
    PGHOST: hostname,
    PGPORT: port,
    PGDATABASE: database.name,
    PGUSER: login.user,
    PGPASSWORD: login.password,
    PGSSLMODE: 'disable',
  };
});
beforeEach(() => emptyTables(database.pool));
afterAll(async () => {
  await processes.close();
  await database?.drop();
  await login?.drop();
  await rm(folder, { recursive: true, force: true });
});

async function retention(args: string[], env = pg) {
  const ended = await processes.run(args, env);
  expectNoSecret(ended.stdout, ended.stderr);
  return ended;
}

/** Runs a command to its end; its report, as JSON. */
async function reportOf(args: string[], env = pg): Promise<RunReport & { exitCode: number | null; stderr: string }> {
  const { stdout, stderr, exitCode } = await retention([...args, '--output', 'json'], env);
  return { ...runReportSchema.parse(JSON.parse(stdout)), exitCode, stderr };
}

/** Fails unless the program ended with 2 and one sentence. */
async function expectRefused(args: string[], sentence: RegExp, env = pg): Promise<void> {
  const { exitCode, stdout, stderr } = await retention(args, env);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).not.toMatch(/at .*:\d+/);
  expect(stderr).toMatch(sentence);
}

/** The example of the design, but for TLS, which the tests' server does not offer. */
const example = {
  apiVersion: 'retention.agentdata.io/v1alpha1',
  kind: 'RetentionPolicy',
  metadata: { name: 'smartem', namespace: 'smartem' },
  spec: {
    preset: 'ScientificCompliance',
    retention: {
      connectionCleanupHours: 48,
      instructionRetentionDays: 365,
      completedSessionRetentionDays: 730,
      acknowledgementRetentionDays: 2555,
      batchSize: 500,
      statuses: { sessions: ['completed', 'terminated', 'error', 'ended'] },
    },
    database: {
      secretRef: { name: 'smartem-db' },
      schema: 'public',
      timestampTimeZone: 'UTC',
      tls: { mode: 'verify-full', caSecretRef: { name: 'smartem-db-ca', key: 'ca.crt' } },
    },
    schedule: '17 3 * * *',
    timeZone: 'Europe/London',
    jobs: [
      { name: 'heartbeat', schedule: '*/15 * * * *', operations: ['connections'] },
      { name: 'nightly', operations: ['instructions', 'sessions', 'acknowledgements'] },
    ],
    statistics: { schedule: '0 * * * *' },
    suspend: false,
    dryRun: false,
    guard: { maxRowsPerRun: 1_000_000, maxPercentOfTable: 50 },
    limits: { lockTimeout: '2s', statementTimeout: '60s', maxDuration: '1h', pauseBetweenBatches: '0s' },
    history: { runs: 10, successfulJobs: 3, failedJobs: 3 },
  },
};

let fileCount = 0;
async function policyFile(spec: Record<string, unknown> = {}): Promise<string> {
  const database = { ...example.spec.database, tls: undefined };
  return textFile(stringify({ ...example, spec: { ...example.spec, database, ...spec } }));
}

async function textFile(text: string): Promise<string> {
  const path = join(folder, `policy-${++fileCount}.yaml`);
  await writeFile(path, text);
  return path;
}

describe('an operation', () => {
  const noGuard = () => policyFile({ guard: { maxPercentOfTable: 100 } });

  /** One row due for each of connections and instructions, two for sessions. */
  async function fill(): Promise<void> {
    await addConnection(database.pool);
    await addInstruction(database.pool);
  }

  test('runs by its name, cleanup runs them all', async () => {
    const file = await noGuard();
    await fill();
    for (const name of cleanupOperations.slice(0, 2)) {
      const { exitCode, result, rows, job, operations } = await reportOf([name, '--file', file]);
      expect({ exitCode, result, rows, job }).toEqual({ exitCode: 0, result: 'Succeeded', rows: 1, job: name });
      expect(operations.map((operation) => operation.name)).toEqual([name]);
    }
    expect(await reportOf(['sessions', '--file', file])).toMatchObject({ exitCode: 0, rows: 2 });
    await fill();
    expect(await reportOf(['cleanup', '--file', file])).toMatchObject({
      result: 'Succeeded',
      rows: 4,
      message: expect.stringMatching(/acknowledgements are kept/),
      operations: [{ name: 'connections' }, { name: 'instructions' }, { name: 'sessions' }],
    });
  });

  test('takes the form of the service that it replaces', async () => {
    await fill();
    expect(await reportOf(['--policy', 'development', '--operation', 'cleanup', '--dry-run'])).toMatchObject({
      exitCode: 0,
      result: 'DryRun',
      rows: 4,
      policy: { preset: 'Development', instructionRetentionDays: 7 },
    });
    const stats = await reportOf([]);
    expect(stats).toMatchObject({ job: 'stats', policy: { preset: 'ScientificCompliance' } });
    expect(stats.statistics?.due).toEqual({ sessions: 2, instructions: 1, connections: 1, acknowledgements: 0 });
  });

  test('takes its options before and after its name, the later one wins', async () => {
    await fill();
    expect(await reportOf(['--dry-run', 'cleanup', '--policy', 'development'])).toMatchObject({
      result: 'DryRun',
      policy: { preset: 'Development' },
    });
    expect(await reportOf(['--policy', 'development', 'cleanup', '--policy', 'scientific', '--dry-run'])).toMatchObject(
      {
        policy: { preset: 'ScientificCompliance' },
      },
    );
  });

  test('prints text, JSON and YAML that agree', async () => {
    await fill();
    const args = ['cleanup', '--dry-run', '--policy', 'development'];
    const json = await reportOf(args);
    const { stdout: yaml } = await retention([...args, '--output', 'yaml']);
    const { stdout: text } = await retention(args);
    const steady = ({ rows, result, policy, operations }: RunReport) => ({
      rows,
      result,
      policy,
      operations: operations.map(({ cutoff: _, ...operation }) => operation),
    });
    expect(steady(runReportSchema.parse(parse(yaml)))).toEqual(steady(json));
    expect(text).toMatch(/^OPERATION +OLDER THAN +CLOSED +ARCHIVED +DELETED +SKIPPED +BATCHES +SECONDS\n/);
    expect(text).toMatch(/^connections +\S+ \S+ +1 /m);
    expect(text).toMatch(/^instructions +\S+ \S+ +- +0 +1 /m);
    expect(text).toMatch(/^DryRun: 4 rows would change, \S+ to \S+/m);
    expect(text).toMatch(
      /^Policy Development: connections 4 h, instructions 7 d, sessions 14 d, acknowledgements 30 d/m,
    );
  });

  test('prints statistics as text', async () => {
    await fill();
    const { stdout } = await retention(['stats']);
    expect(stdout).toMatch(/^TABLE +ROWS +SIZE +OLDEST +DUE\n/);
    expect(stdout).toMatch(/^instructions +1 +\d+ kB +1\d{3}-\d\d-\d\dT\S+Z +1$/m);
  });

  test('acknowledgements by name ignores the seven years, and warns; cleanup keeps to them', async () => {
    const file = await noGuard();
    await addOldAcknowledgements(database.pool, await addInstruction(database.pool), 3);
    expect((await reportOf(['cleanup', '--file', file])).operations).toHaveLength(3);
    expect(await countOf(database.pool, 'agentinstructionacknowledgement')).toBe(3);
    const { stderr, operations, exitCode } = await reportOf(['acknowledgements', '--file', file]);
    expect({ exitCode, operations }).toMatchObject({ exitCode: 0, operations: [{ deleted: 3 }] });
    expect(stderr).toContain('the audit trail is shorter by 3 acknowledgements');
  });

  test('shows plain lines of progress where there is no terminal', async () => {
    await addInstructions(database.pool, 5);
    const { stderr } = await retention(['instructions', '--file', await noGuard()]);
    expect(stderr).toBe('instructions: 5 of 5 rows\n');
  });

  test('that the guard stops ends with 3 and changes nothing', async () => {
    await fill();
    const { exitCode, stdout, stderr } = await retention(['cleanup']);
    expect(exitCode).toBe(3);
    expect(stdout).toMatch(/^Blocked: 0 rows changed/);
    expect(stderr).toMatch(/^error: .* more than guard\.maxPercentOfTable 50\. .*\n$/);
    // A preset has no guard of its own: the way is a file.
    expect(stderr).toMatch(/raise spec\.guard \(by hand, in a file for --file\)/);
    expect(await countOf(database.pool, 'agentinstruction')).toBe(1);
  });

  test('that Ctrl-C stops ends with 4 after its batch, and prints what was done', async () => {
    await addInstructions(database.pool, 5);
    const file = await policyFile({
      guard: { maxPercentOfTable: 100 },
      retention: { batchSize: 1 },
      limits: { pauseBetweenBatches: '1h' },
    });
    const running = processes.start(['instructions', '--file', file, '--output', 'json'], pg);
    await eventually('a first batch', async () => (await countOf(database.pool, 'agentinstruction')) < 5);
    running.kill('SIGINT');
    const { exitCode, stdout, stderr } = await running.ended;
    expect(exitCode).toBe(4);
    expect(JSON.parse(stdout)).toMatchObject({ result: 'Partial', rows: 1, message: 'stopped: SIGINT received' });
    expect(stderr).toContain('warning: stopping: SIGINT received');
    expect(await countOf(database.pool, 'agentinstruction')).toBe(4);
  });
});

describe('a policy in a file', () => {
  test('applies with its values and its statuses', async () => {
    const report = await reportOf(['cleanup', '--dry-run', '--file', await policyFile()]);
    expect(report).toMatchObject({
      exitCode: 0,
      policy: { statuses: { sessions: example.spec.retention.statuses.sessions } },
    });
  });

  test('runs by cleanup what its jobs run, by name what is asked for, with a warning', async () => {
    await addConnection(database.pool);
    await addInstruction(database.pool);
    const guard = { maxPercentOfTable: 100 };
    const jobs = (...operations: string[][]) =>
      policyFile({ guard, jobs: operations.map((names, index) => ({ name: `job-${index}`, operations: names })) });
    const file = await jobs(['connections']);
    const { operations, stderr } = await reportOf(['cleanup', '--file', file]);
    expect(operations).toMatchObject([{ name: 'connections', closed: 1 }]);
    expect(stderr).not.toMatch(/warning/);
    expect(await countOf(database.pool, 'agentinstruction')).toBe(1);
    const named = await reportOf(['instructions', '--file', file]);
    expect(named.operations).toMatchObject([{ name: 'instructions', deleted: 1 }]);
    expect(named.stderr).toMatch(/^warning: instructions: no job of the policy has this operation; it runs since .*\n/);
    const several = await reportOf(['cleanup', '--file', await jobs(['sessions'], ['sessions', 'connections'])]);
    expect(several.operations.map(({ name }) => name)).toEqual(['connections', 'sessions']);
  });

  test('applies with its TLS mode: without TLS on the server the example is refused', async () => {
    const { exitCode, stderr } = await retention(['cleanup', '--file', await textFile(stringify(example))]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^error: .*offers no TLS; turn it on there/);
  });

  test.each<[string, Record<string, unknown>, string]>([
    [
      'keeps acknowledgements shorter than instructions',
      { retention: { acknowledgementRetentionDays: 30 } },
      'spec.retention: acknowledgementRetentionDays must not be less than instructionRetentionDays',
    ],
    [
      'gives a CA that its TLS mode never looks at',
      { database: { secretRef: { name: 'db' }, tls: { mode: 'require', caSecretRef: { name: 'ca' } } } },
      'spec.database.tls: mode disable or require asks for no CA',
    ],
    [
      'names a job statistics',
      { jobs: [{ name: 'statistics' }] },
      'spec.jobs.0.name: the job name "statistics" is reserved for spec.statistics (given: "statistics")',
    ],
    ['names a job twice', { jobs: [{ name: 'a' }, { name: 'a' }] }, 'spec.jobs: names a job twice'],
    [
      'names an operation twice',
      { jobs: [{ name: 'a', operations: ['sessions', 'sessions'] }] },
      'spec.jobs.0.operations: names an operation twice',
    ],
    ['has an @every schedule', { schedule: '@every 1h' }, 'spec.schedule: @every has no fixed times'],
    [
      'has a time zone in its schedule',
      { schedule: 'TZ=UTC 0 3 * * *' },
      'spec.schedule: the time zone belongs into spec.timeZone, not into the schedule',
    ],
    [
      'has a limit out of bounds',
      { limits: { maxDuration: '0s' } },
      'spec.limits.maxDuration: must be from 1s to 168h (given: "0s")',
    ],
    ['has a period out of bounds', { retention: { batchSize: 0 } }, 'spec.retention.batchSize: '],
    [
      'has a schema that PostgreSQL cannot hold',
      { database: { secretRef: { name: 'db' }, schema: 'a\u0000b' } },
      'spec.database.schema: Invalid string: must match pattern',
    ],
    ['has an unknown field', { retain: 1 }, 'Unrecognized key: "retain"'],
  ])('that %s is refused', async (_, spec, sentence) => {
    await expect(policyOf({ file: await policyFile(spec) })).rejects.toThrow(sentence);
  });

  test.each([
    ['is none', 'kind: ConfigMap\n', /must hold one RetentionPolicy; it holds 0$/],
    [
      'are two',
      'kind: RetentionPolicy\nmetadata: {name: a}\n---\nkind: List\nitems: [{kind: RetentionPolicy, metadata: {name: b}}]\n',
      /must hold one RetentionPolicy; it holds 2: a, b$/,
    ],
    ['is no YAML', 'a: [1\n', /^--file \S+ cannot be used: Flow sequence in block collection must be/],
    ['has an alias without its anchor', 'kind: *none\n', /^--file \S+ cannot be used: the alias \*none has no anchor/],
    [
      'contains itself',
      'kind: RetentionPolicy\nspec: &a {guard: *a}\n',
      /cannot be used: the anchor &a contains itself/,
    ],
    [
      'has a key that is none',
      'kind: RetentionPolicy\n1.5: x\n',
      /cannot be used: a key must be .*: put 1\.5 in quotes/,
    ],
    ['has infinity', 'kind: RetentionPolicy\nspec: {guard: .inf}\n', /cannot be used: \.inf is no number/],
    ['has a tag that does not fit', 'kind: !!int x\n', /cannot be used: "x" is no !!int/],
    ['has base64', 'kind: !!binary UmV0\n', /cannot be used: !!binary is not supported: write "UmV0" without it/],
    [
      'ends a line as YAML 1.1 does and YAML 1.2 does not',
      'kind: RetentionPolicy # c\u2028spec: {}\n',
      /the character "\u2028" must not stand in it/,
    ],
    ['has something behind ---', '--- {kind: RetentionPolicy}\n', /only a comment may stand behind ---/],
    [
      'has far too many aliases',
      `a: &a [x, x, x, x]\n${[...'bcdefgh'].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(', ')}]\n`).join('')}`,
      /^--file \S+ cannot be used: it has too many aliases/,
    ],
    [
      'is of another version',
      'apiVersion: v2\nkind: RetentionPolicy\n',
      /apiVersion: .*retention\.agentdata\.io\/v1alpha1/,
    ],
  ])('that %s is refused', async (_, text, sentence) => {
    await expect(policyOf({ file: await textFile(text) })).rejects.toThrow(sentence);
  });

  test('that is wrong ends with 2 and one sentence, nothing is done', async () => {
    await addInstruction(database.pool);
    const file = await policyFile({ retention: { acknowledgementRetentionDays: 30 } });
    await expectRefused(
      ['cleanup', '--file', file],
      /^error: --file .*acknowledgementRetentionDays must not be less than/,
    );
    await expectRefused(
      ['cleanup', '--file', '/nowhere.yaml'],
      /^error: --file \/nowhere\.yaml cannot be read: ENOENT/,
    );
    expect(await countOf(database.pool, 'agentinstruction')).toBe(1);
  });
});

describe('a policy that starts no run on the cluster', () => {
  const guard = { maxPercentOfTable: 100 };
  const suspended = () => policyFile({ guard, suspend: true });
  const inDeletion = () =>
    textFile(
      stringify({
        ...example,
        metadata: { ...example.metadata, deletionTimestamp: '2026-11-28T00:00:00Z' },
        spec: { ...example.spec, database: { ...example.spec.database, tls: undefined }, guard },
      }),
    );

  const annotated = () =>
    textFile(
      stringify({
        ...example,
        metadata: { ...example.metadata, annotations: { [suspendAnnotation]: 'true' } },
        spec: { ...example.spec, database: { ...example.spec.database, tls: undefined }, guard },
      }),
    );

  test.each([
    [
      'suspended by annotation',
      annotated,
      /until the annotation retention\.agentdata\.io\/suspend is removed.*--force/,
    ],
    [
      'suspended',
      suspended,
      /it is suspended until spec\.suspend is false again, so no run starts on the cluster; .*--force/,
    ],
    ['in deletion', inDeletion, /is being deleted \(metadata\.deletionTimestamp is set\).*--force/],
  ])('because it is %s changes nothing, unless it is forced to', async (_, policy, sentence) => {
    const file = await policy();
    await addInstruction(database.pool);
    for (const command of [['cleanup'], ['instructions'], ['--operation', 'acknowledgements']]) {
      await expectRefused([...command, '--file', file], sentence);
    }
    expect(await countOf(database.pool, 'agentinstruction')).toBe(1);
    expect(await reportOf(['cleanup', '--file', file, '--dry-run'])).toMatchObject({ exitCode: 0, result: 'DryRun' });
    expect(await reportOf(['stats', '--file', file])).toMatchObject({ exitCode: 0 });
    expect(await retention(['indexes', '--file', file])).toMatchObject({ exitCode: 0 });
    expect(await reportOf(['instructions', '--file', file, '--force'])).toMatchObject({ exitCode: 0, rows: 1 });
    expect(await countOf(database.pool, 'agentinstruction')).toBe(0);
  });

  test('because it is suspended needs no force where it only counts', async () => {
    const file = await policyFile({ suspend: true, dryRun: true });
    expect(await reportOf(['cleanup', '--file', file])).toMatchObject({ exitCode: 0, result: 'DryRun' });
  });
});

describe('a file of every command', () => {
  const other =
    'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\napiVersion: other.io/v1\nkind: RetentionPolicy\n';
  const text = async () =>
    `${other}---\n${stringify({ ...example, spec: { ...example.spec, database: { secretRef: { name: 'db' }, schema: 'x y' } } }).replace('365', '0365')}`;

  test('is read as kubectl reads it, beside other objects, from stdin too', async () => {
    const file = await textFile(await text());
    const grants = await retention(['grants', '--file', file]);
    expect(grants.stdout).toContain('grant usage on schema "x y" to "retention";');
    expect(await processes.run(['grants', '--file', '-'], pg, await text())).toEqual(grants);
    expect(await reportOf(['stats', '--file', file, '--schema', 'public'])).toMatchObject({
      policy: { instructionRetentionDays: 245 },
    });
    expect(await retention(['indexes', '--file', file, '--schema', 'public'])).toMatchObject({ exitCode: 0 });
  });

  test('that is not UTF-8 is refused', async () => {
    const file = await textFile('');
    await writeFile(file, Buffer.from([0x6b, 0xff]));
    await expectRefused(['grants', '--file', file], /is not UTF-8$/m, {});
  });
});

describe('bad input ends with 2 and one sentence', () => {
  test.each<[string, string[], RegExp]>([
    ['an unknown command', ['clean'], /unknown command "clean"; the commands are cleanup, stats, .*controller$/m],
    ['an unknown option', ['cleanup', '--yes'], /unknown option '--yes'/],
    [
      'an unknown preset',
      ['cleanup', '--policy', 'strict'],
      /'strict' is invalid\. Allowed choices are scientific, development\./,
    ],
    [
      'an unknown operation',
      ['--operation', 'purge'],
      /'purge' is invalid\. Allowed choices are cleanup, stats, connections/,
    ],
    ['an unknown output', ['stats', '--output', 'xml'], /'xml' is invalid\. Allowed choices are text, json, yaml\./],
    ['an option without its value', ['stats', '--schema'], /'--schema <name>' argument missing/],
    [
      'a command and an operation',
      ['--operation', 'stats', 'cleanup'],
      /--operation stats and the command cleanup: give one/,
    ],
    [
      'a preset and a file',
      ['cleanup', '--policy', 'scientific', '--file', 'x'],
      /--policy and --file both say which policy/,
    ],
    [
      'a URI of another kind',
      ['cleanup', '--database-url', 'mysql://u:Xq7zSecret@h/d'],
      /--database-url: not a PostgreSQL URI/,
    ],
    ['a role without a name', ['grants', '--role', ''], /--role must not be empty/],
    [
      'a schema without the tables',
      ['cleanup', '--schema', 'other'],
      /table agentsession does not exist in schema "other"/,
    ],
  ])('for %s', (_, args, sentence) => expectRefused(args, sentence));

  test('for a variable that is wrong', async () => {
    await expectRefused(['stats'], /PGPORT must be a number from 1 to 65535 \(given: "x"\)/, {
      ...pg,
      PGPORT: 'x',
    });
    await expectRefused(
      ['controller', '--image', 'x'],
      /LOG_LEVEL must be one of trace, debug, info, warn, error, fatal, silent \(given: "foo"\)/,
      { LOG_LEVEL: 'foo' },
    );
  });
});

describe('a database', () => {
  test('is found by a URI, which wins over the PG* variables', async () => {
    const report = await reportOf(['stats', '--database-url', login.url], { PGHOST: 'database.invalid' });
    expect(report).toMatchObject({ exitCode: 0, result: 'Succeeded' });
  });

  // What is not there yet may come: so long it is waited for.
  test('that cannot be reached is waited for, and then ends with 1 and one sentence', {
    timeout: 180_000,
  }, async () => {
    const url = new URL(login.url);
    url.port = String(await freePort());
    const sentence = /nothing answers at .*are host and port in --database-url right\?/;
    const attempts = ['stats', 'cleanup'].flatMap((command) => [
      async () => {
        const { exitCode, stdout, stderr } = await retention([command, '--database-url', url.href]);
        expect(exitCode).toBe(1);
        expect(stderr).toMatch(/cannot connect; will keep trying for 90 s/);
        expect(stderr).toMatch(new RegExp(`^error: ${sentence.source}\n$`, 'm'));
        expect(stdout).toMatch(/^Failed: 0 rows changed, [^\n]+\nPolicy ScientificCompliance: [^\n]+\n$/);
      },
      async () => {
        expect(await reportOf([command, '--database-url', url.href])).toMatchObject({
          exitCode: 1,
          result: 'Failed',
          job: command,
          message: expect.stringMatching(sentence),
          stderr: expect.stringMatching(sentence),
        });
      },
    ]);
    await Promise.all(attempts.map((attempt) => attempt()));
  });
});

describe('a failure', () => {
  test('that leaves nothing to do is one sentence on stderr', async () => {
    await addInstruction(database.pool);
    await database.pool.query('alter table agentinstruction rename column payload to payload_');
    onTestFinished(async () => {
      await database.pool.query('alter table agentinstruction rename column payload_ to payload');
    });
    const { exitCode, stdout, stderr } = await retention(['cleanup']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toBe('error: table agentinstruction has no column payload\n');
  });

  test('of one operation of several is told once, on stderr, beside what the others did', async () => {
    await addConnection(database.pool);
    await database.pool.query(
      "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no changes today'; end $$",
    );
    await database.pool.query(
      'create trigger refuse before update on agentconnection for each row execute function refuse()',
    );
    onTestFinished(async () => {
      await database.pool.query('drop function refuse() cascade');
    });
    const { exitCode, stdout, stderr } = await retention([
      'cleanup',
      '--file',
      await policyFile({ guard: { maxPercentOfTable: 100 } }),
    ]);
    expect(exitCode).toBe(4);
    expect(stdout).toMatch(/^connections .*\n(instructions|sessions) /m);
    expect(stdout).toMatch(/^Partial: /m);
    expect(stdout).not.toContain('no changes today');
    expect(stderr.match(/no changes today/g)).toHaveLength(1);
    expect(stderr).toMatch(/^error: connections failed: 1 rows could not be changed .* no changes today/m);
  });

  test('for bad input is a result in JSON and YAML too', async () => {
    const { exitCode, result, message, stderr } = await reportOf(['stats', '--schema', 'other']);
    expect({ exitCode, result }).toEqual({ exitCode: 2, result: 'Failed' });
    expect(stderr).toBe(`error: ${message}\n`);
    const { stdout } = await retention(['stats', '--file', '/nowhere.yaml', '--output', 'yaml']);
    expect(runReportSchema.parse(parse(stdout))).toMatchObject({ result: 'Failed', job: 'stats' });
  });
});

test('a reader that has read enough fails nothing', async () => {
  for (const [command, exitCode] of [
    ['stats', 0],
    ['cleanup', 3],
  ] as const) {
    await addInstruction(database.pool);
    const running = processes.start([command], pg);
    running.closeStdout();
    const ended = await running.ended;
    expect(ended.exitCode).toBe(exitCode);
    expect(ended.stderr).not.toMatch(/EPIPE|at .*:\d+/);
  }
});

test('Ctrl-C ends statistics as Partial, with 4', async () => {
  const holder = await database.client();
  await holder.query('begin');
  await holder.query('lock table agentsession in access exclusive mode');
  const file = await policyFile({ limits: { lockTimeout: '1h' } });
  const running = processes.start(['stats', '--file', file, '--output', 'json'], pg);
  await blocks(database, await pidOf(holder));
  running.kill('SIGINT');
  const { exitCode, stdout } = await running.ended;
  expect(exitCode).toBe(4);
  expect(runReportSchema.parse(JSON.parse(stdout))).toMatchObject({
    result: 'Partial',
    message: 'stopped: SIGINT received',
  });
  await holder.end();
});

test('grants prints SQL for the role that is named', async () => {
  const { exitCode, stdout } = await retention(['grants', '--role', 'night shift', '--schema', 'agents'], {});
  expect(exitCode).toBe(0);
  expect(stdout).toContain('grant usage on schema "agents" to "night shift";');
});

test('npx retention works from the checkout, without a build and without a network', async () => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const env = { ...process.env, npm_config_offline: 'true', npm_config_update_notifier: 'false' };
  const { stdout } = await promisify(execFile)('npx', ['retention', '--help'], { cwd: root, env });
  expect(stdout).toMatch(/^Usage: retention \[options\] \[command\]\n/);
  expect(stdout).toMatch(/^ {2}acknowledgements \[options\]/m);
});
