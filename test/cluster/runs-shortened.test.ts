import { afterAll, beforeAll, expect, test } from 'vitest';
import { resources } from '../../src/controller/objects.ts';
import { countOf } from '../support/data/due-rows.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf } from '../support/policies.ts';
import { type RunServer, startRunServer } from '../support/postgres/run-database.ts';
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

const archived = `payload -> 'archived' is not distinct from 'true'::jsonb`;
const hashOf = async () => {
  const cronJob = await runs.policies.client.get(resources.cronJobs, {
    namespace: runs.namespace,
    name: 'shortened-nightly',
  });
  return cronJob.spec?.jobTemplate.metadata?.annotations;
};

test('a period shortened in a policy is Blocked until it is confirmed by its very value, other jobs and failures between', async () => {
  const database = await server.createDatabase();
  await database.pool.query(
    `insert into agentsession (session_id, agent_id) values ('session', 'agent');
     insert into agentinstruction (session_id, agent_id, instruction_type, status, created_at, payload)
     select 'session', 'agent', 'move', 'completed', now() - n * interval '1 day', '{"x": 1}'
       from generate_series(1, 400) n;
     insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status)
     select instruction_id, 'agent', 'session', 'processed' from agentinstruction`,
  );
  await runs.applySecret('shortened-db', database.login);
  const jobs = [
    { name: 'nightly', operations: ['instructions'] },
    { name: 'heartbeat', operations: ['connections'] },
  ];
  await runs.applyPolicy('shortened', { jobs });
  const before = await hashOf();
  const first = await runs.runNow('shortened', 'nightly');
  expect(first.run).toMatchObject({ result: 'Succeeded', rows: 35 + 1 });
  expect(first.status.applied).toMatchObject({ instructionRetentionDays: 365 });
  // What is remembered makes no Job outdated.
  expect(await hashOf()).toEqual(before);

  // 165 of the 364 that are left: within half of them.
  await runs.patchSpec('shortened', { retention: { instructionRetentionDays: 200 } });
  expect((await runs.runNow('shortened', 'heartbeat')).run).toMatchObject({ result: 'Succeeded' });
  const words =
    /^instructions: 165 rows are due instead of 0 by instructionRetentionDays 200 instead of 365, .* write in spec\.guard: confirm: \{instructionRetentionDays: 200\}\. Nothing was changed/;
  for (const _ of [1, 2]) {
    const { run, status } = await runs.runNow('shortened', 'nightly');
    expect(run).toMatchObject({ result: 'Blocked', rows: 0, message: expect.stringMatching(words) });
    expect(conditionOf(status, 'LastRunSucceeded')).toMatchObject({ status: 'False', reason: 'RunBlocked' });
    expect(status.applied).toMatchObject({ instructionRetentionDays: 365 });
  }
  expect(await countOf(database.pool, 'agentinstruction', archived)).toBe(36);

  await runs.patchSpec('shortened', { guard: { confirm: { instructionRetentionDays: 200 } } });
  const confirmed = await runs.runNow('shortened', 'nightly');
  expect(confirmed.run).toMatchObject({ result: 'Succeeded', rows: 165 });
  expect(confirmed.status.applied).toMatchObject({ instructionRetentionDays: 200, connectionCleanupHours: 48 });

  // The lines stay, and confirm no other mistake.
  await runs.patchSpec('shortened', { retention: { instructionRetentionDays: 150 } });
  const typo = await runs.runNow('shortened', 'nightly');
  expect(typo.run).toMatchObject({ result: 'Blocked', message: expect.stringContaining('150 instead of 200') });
});
