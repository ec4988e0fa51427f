import { readFileSync } from 'node:fs';
import type { V1CronJob } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { RunResult } from '../../src/api/run-result.ts';
import { addConnection, countOf } from '../support/data/due-rows.ts';
import { generate } from '../support/data/generator.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf } from '../support/policies.ts';
import { entryOf } from '../support/policy-runs.ts';
import { type RunDatabase, type RunServer, startRunServer, uriOf } from '../support/postgres/run-database.ts';
import { Runs } from '../support/runs.ts';

const cluster = useCluster();
let server: RunServer;
let runs: Runs;

beforeAll(async () => {
  [server, runs] = await Promise.all([startRunServer(), Runs.start(cluster)]);
});

afterAll(async () => {
  await runs?.stop();
  await server?.stop();
});

interface Tally {
  instructions: number;
  /** With acknowledgements: one without is deleted, archived or not. */
  instructionsArchived: number;
  sessionsArchived: number;
  connectionsClosed: number;
  acknowledgements: number;
}

/** What of the tables a cleanup changes. */
async function tally({ pool }: RunDatabase): Promise<Tally> {
  const { rows } = await pool.query<Tally>(
    `select (select count(*)::int from agentinstruction) as instructions,
            (select count(*)::int
               from agentinstruction i
              where payload -> 'archived' = 'true'
                and exists (select from agentinstructionacknowledgement a where a.instruction_id = i.instruction_id)
            ) as "instructionsArchived",
            (select count(*)::int from agentsession where experimental_parameters -> 'archived' = 'true')
              as "sessionsArchived",
            (select count(*)::int from agentconnection where status = 'timeout') as "connectionsClosed",
            (select count(*)::int from agentinstructionacknowledgement) as acknowledgements`,
  );
  return rows[0]!;
}

const operation = (run: RunResult, name: string) => run.operations.find((candidate) => candidate.name === name)!;

const yearly = '0 0 1 1 *';

/** The sample in another namespace, and on schedules that do not run into the test. */
function sample(namespace: string): object {
  const policy = parse(readFileSync('deploy/samples/smartem.yaml', 'utf8')) as {
    metadata: object;
    spec: { jobs: object[] };
  };
  const { metadata, spec } = policy;
  const jobs = spec.jobs.map((job) => ({ ...job, schedule: yearly }));
  const statistics = { schedule: yearly };
  return { ...policy, metadata: { ...metadata, namespace }, spec: { ...spec, schedule: yearly, jobs, statistics } };
}

test('the sample policy: applied, run by hand, its rows change as counted, and status and columns show it', async () => {
  const database = await server.createDatabase();
  const client = await database.pool.connect();
  await generate(client, { sessions: 200, instructions: 2_000, connections: 400, ageDays: 800 });
  client.release();
  await runs.applySecret('smartem-db', { uri: uriOf(database.login) });
  await runs.applySecret('smartem-db-ca', { 'ca.crt': server.ca });
  await runs.kubectl(['apply', '-f', '-'], stringify(sample(runs.namespace)));
  const ready = await runs.policies.settled('smartem', 'Ready', 'True');
  expect(conditionOf(ready, 'LastRunSucceeded')).toMatchObject({ status: 'Unknown', reason: 'NoRunYet' });
  const untouched = await runs.columns('smartem');
  expect(untouched).toMatchObject({
    READY: 'True',
    'LAST RUN': '',
    RESULT: '',
    ROWS: '',
  });

  const before = await tally(database);
  const { run: nightly, status: afterNightly } = await runs.runNow('smartem', 'nightly');
  const after = await tally(database);
  expect(nightly).toMatchObject({ job: 'nightly', trigger: 'Manual', result: 'Succeeded' });
  expect(nightly.operations.map(({ name }) => name)).toEqual(['instructions', 'sessions']);
  const { archived, deleted } = operation(nightly, 'instructions');
  const sessions = operation(nightly, 'sessions').archived!;
  for (const count of [archived, deleted, sessions]) expect(count).toBeGreaterThan(0);
  expect(after).toEqual({
    instructions: before.instructions - deleted!,
    instructionsArchived: before.instructionsArchived + archived!,
    sessionsArchived: before.sessionsArchived + sessions,
    connectionsClosed: before.connectionsClosed,
    acknowledgements: before.acknowledgements,
  });
  expect(nightly.rows).toBe(archived! + deleted! + sessions);
  // The other jobs have not run yet.
  expect(conditionOf(afterNightly, 'LastRunSucceeded')).toMatchObject({ status: 'Unknown' });

  const { run: heartbeat, status: afterHeartbeat } = await runs.runNow('smartem', 'heartbeat');
  expect(heartbeat).toMatchObject({ result: 'Succeeded', operations: [{ name: 'connections' }] });
  expect(heartbeat.rows).toBeGreaterThan(0);
  expect(await tally(database)).toEqual({ ...after, connectionsClosed: before.connectionsClosed + heartbeat.rows });
  expect(entryOf(afterHeartbeat, 'nightly')!.lastRun, 'the other job keeps its result').toEqual(nightly);
  expect(conditionOf(afterHeartbeat, 'LastRunSucceeded')).toMatchObject({ status: 'Unknown' });
  expect(afterHeartbeat.statistics).toBeUndefined();

  const { run: statistics, status } = await runs.runNow('smartem', 'statistics');
  expect(entryOf(status, 'nightly')!.lastRun).toEqual(nightly);
  expect(entryOf(status, 'heartbeat')!.lastRun).toEqual(heartbeat);
  expect(status.statistics).toMatchObject({
    recordCounts: {
      instructions: { rows: after.instructions },
      acknowledgements: { rows: after.acknowledgements },
      sessions: { rows: 200 },
      connections: { rows: 400 },
    },
    due: { instructions: 0, sessions: 0, connections: 0 },
  });
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'True', reason: 'RunsSucceeded' });
  expect(status.runs!.map(({ job }) => job)).toEqual(['statistics', 'heartbeat', 'nightly']);

  const columns = await runs.columns('smartem');
  const { NAME, AGE, 'LAST RUN': lastRun, NEXT, ...others } = columns;
  expect(others).toEqual({
    PRESET: 'ScientificCompliance',
    SCHEDULE: yearly,
    SUSPENDED: 'false',
    READY: 'True',
    RESULT: 'Succeeded',
    ROWS: '0',
    MESSAGE: status.message ?? '',
  });
  expect(NAME).toBe('smartem');
  for (const age of [AGE, lastRun]) expect(age).toMatch(/^\d+s$|^\d+m(\d+s)?$/);
  expect(NEXT).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  expect(status.lastRun!.durationSeconds).toBe(statistics.durationSeconds);
  expect(NEXT).toBe(status.nextRun);
  expect(Date.parse(NEXT!)).toBeGreaterThan(Date.now());
  const narrow = await runs.kubectl(['get', 'retpol', 'smartem']);
  expect(narrow.split('\n')[0]!.split(/ {2,}/)).toEqual(
    'NAME,PRESET,SCHEDULE,SUSPENDED,READY,LAST RUN,RESULT,ROWS,NEXT,AGE'.split(','),
  );
});

test('Pods meet the restricted Pod Security Standard: no warning, where another Pod gets one', async () => {
  await runs.applyPolicy('restricted');
  const manifest = await runs.kubectl(['get', 'cronjob', 'restricted-cleanup', '-o', 'json']);
  const { spec } = (JSON.parse(manifest) as V1CronJob).spec!.jobTemplate.spec!.template;
  const pod = (podSpec: unknown) =>
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'tried', namespace: runs.namespace },
      spec: podSpec,
    });
  const dryRun = (input: string) => cluster.kubectl(['apply', '--dry-run=server', '-f', '-'], { input });
  expect(await dryRun(pod(spec))).toMatchObject({ code: 0, stderr: '' });

  const lax = { ...spec!, securityContext: { ...spec!.securityContext, seccompProfile: undefined } };
  const refused = await dryRun(pod(lax));
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain('violates PodSecurity "restricted:latest"');
});

test('a Job made by hand from the CronJob is a run like any other', async () => {
  const database = await server.createDatabase();
  await addConnection(database.pool);
  await runs.applySecret('by-hand-db', database.login);
  await runs.applyPolicy('by-hand', { jobs: [{ name: 'cleanup', operations: ['connections'] }] });
  await runs.kubectl(['create', 'job', 'made-by-hand', '--from=cronjob/by-hand-cleanup']);
  const { run, status } = await runs.result('by-hand', 'made-by-hand');
  expect(run).toMatchObject({ result: 'Succeeded', rows: 1 });
  expect(await countOf(database.pool, 'agentconnection', `status = 'timeout'`)).toBe(1);
  expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'True' });
  expect(await runs.exitCode('made-by-hand')).toBe(0);
});
