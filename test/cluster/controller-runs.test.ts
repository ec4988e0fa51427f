import { PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  runFieldManager,
  runJobAnnotation,
  runRequestedAtAnnotation,
  statisticsFieldManager,
} from '../../src/api/policy.ts';
import type { RunResult } from '../../src/api/run-result.ts';
import { finishedAs, isFinished, type Job, resources, timestamp } from '../../src/controller/objects.ts';
import { stoppedAnnotation } from '../../src/controller/stopped.ts';
import { adminClient, installOperator, startController } from '../support/controller.ts';
import { runOf } from '../support/controller-objects.ts';
import { eventually, soon } from '../support/eventually.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { conditionOf, Policies } from '../support/policies.ts';

const cluster = useCluster();
const client = adminClient(cluster);
let controller: Awaited<ReturnType<typeof startController>> | undefined;
let namespace: string;
let policies: Policies;

// No node is there: Jobs get Pods that stay pending.
beforeAll(async () => {
  await installOperator(cluster);
  controller = await startController(cluster);
});
afterAll(() => controller?.stop());
beforeEach(async () => {
  namespace = await cluster.createNamespace();
  policies = new Policies(client, namespace);
});

const jobs = [
  { name: 'heartbeat', operations: ['connections'] },
  { name: 'nightly', operations: ['sessions'] },
];
const jobNames = async () =>
  (await client.list(resources.jobs, { namespace })).items.map(({ metadata }) => metadata.name).sort();

/** What a run of a job writes into the status, as the run's own field manager. */
function report(policy: string, job: string, fields: Partial<RunResult>) {
  const lastRun = runOf(job, { id: `${policy}-${job}-1`, ...fields });
  return applyStatus(policy, runFieldManager(job), { jobs: [{ name: job, lastRun }] });
}

function applyStatus(policy: string, fieldManager: string, status: object) {
  const options = { fieldManager, force: true, subresource: 'status' } as const;
  return client.apply(resources.policies, { metadata: { namespace, name: policy }, status }, options);
}

const eventReasons = async () =>
  (await client.list(resources.events, { namespace, fieldSelector: 'involvedObject.kind=RetentionPolicy' })).items.map(
    ({ reason }) => reason,
  );
const hasEvent = (reason: string) =>
  eventually(`an Event ${reason}`, async () => (await eventReasons()).includes(reason));

describe('a run that is asked for', () => {
  const ask = (spec: object, annotations: Record<string, string> = {}) =>
    policies.ask('smartem', { ...spec }, annotations);
  const handled = (value: string) =>
    policies.statusOf('smartem', `${value} to be handled`, (status) => status.lastHandledRunRequest === value);

  it('is made once per value, of the first job or the one that is named', async () => {
    await handled(await ask({ jobs }));
    const [first, ...none] = (await client.list(resources.jobs, { namespace })).items as Job[];
    expect(none).toEqual([]);
    expect(first!.metadata).toMatchObject({
      name: expect.stringMatching(/^smartem-heartbeat-[0-9a-f]{10}$/),
      labels: { 'retention.agentdata.io/policy': 'smartem', 'retention.agentdata.io/job': 'heartbeat' },
      ownerReferences: [{ kind: 'RetentionPolicy', name: 'smartem', controller: true }],
    });
    await hasEvent('RunRequested');

    const second = await ask({ jobs }, { [runJobAnnotation]: 'nightly' });
    await handled(second);
    expect(await jobNames()).toEqual([first!.metadata.name, expect.stringMatching(/^smartem-nightly-/)]);

    // The same value again, when the controller has started anew and the Job is gone: nothing is made.
    await client.delete(resources.jobs, { namespace, name: (await jobNames())[1]! });
    await controller!.stop();
    controller = await startController(cluster);
    const annotations = { [runRequestedAtAnnotation]: second, [runJobAnnotation]: 'nightly' };
    await policies.apply('smartem', { jobs, history: { runs: 5 } }, annotations);
    await policies.statusOf('smartem', 'generation 2', (status) => status.observedGeneration === 2);
    expect(await jobNames()).toEqual([first!.metadata.name]);
  });

  it('shows as active, and another of that job is refused meanwhile, but not one of another job', async () => {
    await ask({ jobs });
    await policies.statusOf('smartem', 'the run', ({ jobs }) => jobs?.[0]?.active === 1);
    await handled(await ask({ jobs }));
    await hasEvent('RunRequestRefused');
    expect(await jobNames()).toHaveLength(1);
    await handled(await ask({ jobs }, { [runJobAnnotation]: 'nightly' }));
    expect(await jobNames()).toHaveLength(2);
  });

  it.each([
    ['suspended', { jobs, suspend: true }, {}],
    ['without such a job', { jobs }, { [runJobAnnotation]: 'weekly' }],
    ['that is Stalled', { jobs, schedule: '5-3 * * * *' }, {}],
  ])('is refused of a policy %s, and does not come back', async (_, spec, annotations) => {
    const at = await ask(spec, annotations);
    await handled(at);
    await hasEvent('RunRequestRefused');
    await policies.apply('smartem', { jobs }, { [runRequestedAtAnnotation]: at });
    await policies.settled('smartem', 'Ready', 'True');
    expect(await jobNames()).toEqual([]);
  });

  it.each([
    ['of a backup', '2024-03-01T04:00:00Z'],
    ['of a moment ago', new Date(Date.now() - 5000).toISOString()],
    ['of the future', new Date(Date.now() + 3_600_000).toISOString()],
    ['that is no time', 'now'],
  ])('is refused where a new policy comes with a request %s', async (_, value) => {
    await policies.apply('smartem', { jobs }, { [runRequestedAtAnnotation]: value });
    await handled(value);
    await hasEvent('RunRequestRefused');
    expect(await jobNames()).toEqual([]);
  });
});

it('finished Jobs of requests stay as many as the history says, also when eight were asked for', async () => {
  const history = { successfulJobs: 2, failedJobs: 1 };
  const made: string[] = [];
  for (let n = 0; n < 8; n++) {
    const at = await policies.ask('smartem', { jobs, history });
    // Until the controller has seen the Job, none is active either.
    await policies.statusOf('smartem', 'the run', ({ lastHandledRunRequest, jobs }) => {
      return lastHandledRunRequest === at && jobs?.[0]?.active === 1;
    });
    const active = (await client.list(resources.jobs, { namespace })).items.find((job) => !finishedAs(job));
    const name = active!.metadata.name;
    made.push(name);
    // Kubernetes' times are whole seconds.
    await finish(name, timestamp(new Date(Date.now() + n * 2000)));
    await policies.statusOf('smartem', 'no run', ({ jobs }) => jobs?.[0]?.active === 0);
  }
  await vi.waitFor(async () => expect(await jobNames()).toEqual(made.slice(-2).sort()), soon);
});

/** Ends the Job at this time as its controller would, were there a node. */
async function finish(name: string, completionTime: string): Promise<void> {
  const true_ = { status: 'True', lastTransitionTime: completionTime, lastProbeTime: completionTime };
  const conditions = [
    { type: 'SuccessCriteriaMet', ...true_ },
    { type: 'Complete', ...true_ },
  ];
  const status = { completionTime, succeeded: 1, active: 0, ready: 0, terminating: 0, conditions };
  await eventually(`${name} to be finished`, () =>
    client
      .mergePatch(resources.jobs, { namespace, name }, { status }, { fieldManager: 'test', subresource: 'status' })
      .then(
        () => true,
        () => false,
      ),
  );
}

describe('a run that has not started', () => {
  const slow = { jobs, preset: 'Development' };
  /** The Job of the first job of a policy that asked for it: no node is there to start it. */
  const waiting = async () => {
    const at = await policies.ask('smartem', slow);
    await policies.statusOf('smartem', 'the run', (status) => status.jobs?.[0]?.active === 1);
    return { ...(await client.list(resources.jobs, { namespace })).items[0]!.metadata, at };
  };
  const gone = () => eventually('the Job to be gone', async () => (await jobNames()).length === 0);

  it.each([
    ['keeps records longer', { jobs, preset: 'ScientificCompliance' }],
    ['gives it other resources', { ...slow, runner: { resources: { limits: { memory: '1Gi' } } } }],
    ['is suspended', { ...slow, suspend: true }],
    ['is Stalled', { ...slow, timeZone: 'Europe/Atlantis' }],
    ['no longer has that job', { jobs: [jobs[1]], preset: 'Development' }],
  ])('goes when the policy %s', async (_, spec) => {
    const { name, at } = await waiting();
    await policies.apply('smartem', spec, { [runRequestedAtAnnotation]: at });
    await gone();
    await hasEvent('JobDeleted');
    await policies.statusOf('smartem', 'no run', (status) => status.jobs!.every(({ active }) => active === 0));
    expect(name).toMatch(/^smartem-heartbeat-/);
  });

  it('frees its job at once for another', async () => {
    const { name } = await waiting();
    await policies.ask('smartem', { jobs });
    await eventually('the other Job', async () => {
      const names = await jobNames();
      return names.length === 1 && names[0] !== name;
    });
  });

  it('stays when what changes does not concern it; one that has started is stopped, and stays as evidence', async () => {
    const { name, uid } = await waiting();
    await policies.apply('smartem', { ...slow, schedule: '0 5 * * *', history: { runs: 3 } });
    await policies.settled('smartem', 'Ready', 'True');
    expect((await client.get(resources.jobs, { namespace, name })).metadata.uid).toBe(uid);

    const pod = await eventually('its Pod', async () => (await client.list(resources.pods, { namespace })).items[0]);
    const running = { name: 'runner', image: 'x', imageID: 'x', ready: true, restartCount: 0, state: { running: {} } };
    await cluster.core.patchNamespacedPodStatus(
      { namespace, name: pod.metadata.name, body: { status: { phase: 'Running', containerStatuses: [running] } } },
      setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
    );
    await policies.apply('smartem', { ...slow, suspend: true });
    const stopped = await eventually('the Job to end', async () => {
      const job = await client.get(resources.jobs, { namespace, name });
      return isFinished(job) && job;
    });
    expect(stopped.metadata).toMatchObject({ uid, annotations: { [stoppedAnnotation]: 'the policy is suspended' } });
    await hasEvent('JobStopped');
  });
});

describe('the results of runs', () => {
  const night = { result: 'Failed', message: 'no database', completionTime: '2026-03-01T03:01:00Z' } as const;
  const beat = { rows: 3, startTime: '2026-03-01T03:15:00Z', completionTime: '2026-03-01T03:15:01Z' } as const;

  it('of two jobs stand side by side; the failing one shows, until it succeeds', async () => {
    await policies.apply('smartem', { jobs });
    await policies.settled('smartem', 'Ready', 'True');
    await report('smartem', 'nightly', night);
    await report('smartem', 'heartbeat', beat);
    const bad = await policies.statusOf('smartem', 'both runs', ({ runs }) => runs?.length === 2);
    expect(bad.jobs!.map(({ name, lastRun }) => [name, lastRun?.result])).toEqual([
      ['heartbeat', 'Succeeded'],
      ['nightly', 'Failed'],
    ]);
    expect(bad.lastRun).toMatchObject({ job: 'heartbeat', rows: 3, result: 'Failed', message: 'nightly: no database' });
    expect(conditionOf(bad, 'LastRunSucceeded')).toMatchObject({
      status: 'False',
      reason: 'RunFailed',
      message: 'nightly: Failed: no database',
    });
    expect(conditionOf(bad, 'Ready')).toMatchObject({ status: 'True' });
    await hasEvent('RunFailed');
    const { stdout } = await cluster.kubectl(['get', 'retpol', 'smartem', '-n', namespace, '--no-headers']);
    expect(stdout).toMatch(/ True +\S+ +Failed +3 /);

    // A frequent job succeeds again and again, and a skipped night changes nothing.
    await report('smartem', 'heartbeat', {
      ...beat,
      id: 'smartem-heartbeat-2',
      completionTime: '2026-03-01T03:30:01Z',
    });
    await report('smartem', 'nightly', { ...night, id: 'smartem-nightly-2', result: 'Skipped' });
    const still = await policies.statusOf('smartem', 'four runs', ({ runs }) => runs?.length === 4);
    expect(conditionOf(still, 'LastRunSucceeded')!.status).toBe('False');

    await report('smartem', 'nightly', { id: 'smartem-nightly-3', completionTime: '2026-03-01T03:46:00Z' });
    const good = await policies.settled('smartem', 'LastRunSucceeded', 'True');
    expect(good.runs!.map(({ id }) => id)).toHaveLength(5);
    expect(good.jobs![0]!.lastSuccessTime).toBe('2026-03-01T03:30:01Z');
    expect(good.lastRun).toMatchObject({ id: 'smartem-nightly-3', result: 'Succeeded' });
  });

  it('of which one advises an index show that, until a later one of its job does not', async () => {
    await policies.apply('smartem', { jobs });
    await policies.settled('smartem', 'Ready', 'True');
    const statements = ['create index concurrently if not exists "i" on "public"."agentsession" (ended_at, id)'];
    const indexAdvice = [{ table: 'agentsession', statements, saving: 'finding the 0 sessions to archive reads all' }];
    await report('smartem', 'nightly', { ...night, result: 'Succeeded', indexAdvice });
    await report('smartem', 'heartbeat', beat);
    const advised = await policies.statusOf('smartem', 'both runs', ({ runs }) => runs?.length === 2);
    expect(conditionOf(advised, 'IndexAdvised')).toMatchObject({
      status: 'True',
      message: `finding the 0 sessions to archive reads all. SQL: ${statements[0]};`,
    });
    const waited = await cluster.kubectl([
      'wait',
      'retpol/smartem',
      '-n',
      namespace,
      '--for=condition=Ready',
      '--timeout=60s',
    ]);
    expect(waited).toMatchObject({ code: 0 });
    await report('smartem', 'nightly', { id: 'smartem-nightly-2', completionTime: '2026-03-01T03:46:00Z' });
    const rest = await policies.statusOf('smartem', 'three runs', ({ runs }) => runs?.length === 3);
    expect(conditionOf(rest, 'IndexAdvised')).toBeUndefined();
  });

  it('of a job that leaves the spec leave the status, and the others stay', async () => {
    const observed = { observedAt: '2026-03-01T03:00:00Z', totalSizeBytes: 1, totalSize: '1 B' };
    const statistics = { ...observed, recordCounts: {}, tableSizes: {}, oldest: {}, due: {}, uncovered: {} };
    await policies.apply('smartem', { jobs, statistics: { schedule: '0 * * * *' } });
    await policies.settled('smartem', 'Ready', 'True');
    await report('smartem', 'heartbeat', beat);
    await report('smartem', 'nightly', night);
    await report('smartem', 'statistics', {});
    await applyStatus('smartem', statisticsFieldManager, { statistics });
    const all = await policies.statusOf(
      'smartem',
      'all runs',
      (status) => status.runs?.length === 3 && !!status.statistics,
    );
    expect(all.statistics).toEqual(statistics);

    await policies.apply('smartem', { jobs: [jobs[0]] });
    await policies.settled('smartem', 'LastRunSucceeded', 'True');
    await vi.waitFor(async () => {
      const rest = await policies.status('smartem');
      expect(rest.jobs).toMatchObject([{ name: 'heartbeat', lastRun: { rows: 3 } }]);
      expect(rest.lastRun).toMatchObject({ job: 'heartbeat', result: 'Succeeded' });
      expect(rest.statistics).toBeUndefined();
    }, soon);
  });

  it('are kept as many as the policy says', async () => {
    await policies.apply('smartem', { history: { runs: 2 } });
    await policies.settled('smartem', 'Ready', 'True');
    for (const number of [1, 2, 3]) {
      const id = `run-${number}`;
      await report('smartem', 'cleanup', { id, completionTime: `2026-03-01T03:0${number}:00Z` });
      await policies.statusOf('smartem', id, ({ runs }) => runs?.[0]?.id === id);
    }
    expect((await policies.settled('smartem', 'Ready', 'True')).runs!.map(({ id }) => id)).toEqual(['run-3', 'run-2']);
  });
});

describe('a job that does not succeed for two of its periods', () => {
  const days = (count: number) => () => new Date(Date.now() + count * 86_400_000);
  let later: Awaited<ReturnType<typeof startController>> | undefined;
  afterEach(() => later?.stop());

  it('is overdue, until it does', async () => {
    await policies.apply('smartem', { schedule: '0 3 * * *' });
    await policies.settled('smartem', 'Ready', 'True');
    await report('smartem', 'cleanup', { completionTime: new Date().toISOString() });
    await policies.settled('smartem', 'LastRunSucceeded', 'True');

    await controller!.stop();
    later = await startController(cluster, { now: days(4), namespaces: [namespace] });
    const overdue = await policies.settled('smartem', 'LastRunSucceeded', 'False');
    expect(conditionOf(overdue, 'LastRunSucceeded')).toMatchObject({ reason: 'Overdue' });
    expect(conditionOf(overdue, 'LastRunSucceeded')!.message).toContain('look at CronJob smartem-cleanup');
    await hasEvent('Overdue');

    await report('smartem', 'cleanup', { id: 'smartem-cleanup-2', completionTime: days(4)().toISOString() });
    await policies.settled('smartem', 'LastRunSucceeded', 'True');
    await later.stop();
    controller = await startController(cluster);
  });
});
