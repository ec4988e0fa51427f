import { describe, expect, it } from 'vitest';
import { presets } from '../../../src/api/presets.ts';
import { desiredObjects, plannedJobs, requestedJob } from '../../../src/controller/desired.ts';
import type { Job, Policy } from '../../../src/controller/objects.ts';
import { endOutdated, hasStarted, whyOutdated, whyStopped } from '../../../src/controller/outdated-jobs.ts';
import { OwnWrites } from '../../../src/controller/own-writes.ts';
import { stoppedAnnotation } from '../../../src/controller/stopped.ts';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import { image, jobOfRun, podWith, policyWith } from '../../support/controller-objects.ts';
import { policyManifest } from '../../support/policies.ts';

const policy = policyWith({ preset: 'Development' });
const requested = (of: Policy) => requestedJob(of, plannedJobs(of)[0]!, '1', image);
/** As the CronJob controller makes it. */
const scheduled = (of: Policy): Job => {
  const { metadata, spec } = desiredObjects(of, image).cronJobs[0]!.spec!.jobTemplate;
  return { ...jobOfRun('smartem-cleanup-1'), metadata: { name: 'smartem-cleanup-1', ...metadata } as never, spec };
};
const why = (job: Job, now: Partial<Parameters<typeof whyOutdated>[1]> = {}) =>
  whyOutdated(job, { policy, stalled: false, deleting: false, runner: image, ...now });

describe('a Job that has not started is outdated', () => {
  it.each([
    ['asked for', requested],
    ['scheduled', scheduled],
  ])('if its Pod would be another now, not otherwise: one %s', (_, make) => {
    expect(why(make(policy))).toBeUndefined();
    expect(why(make(policyWith({ preset: 'Development', history: { runs: 3 } })))).toBeUndefined();
    expect(why(make(policyWith({ preset: 'ScientificCompliance' })))).toBe('it was made before the policy changed');
    const resources = { limits: { memory: '1Gi' } };
    expect(why(make(policyWith({ preset: 'Development', runner: { resources } })))).toBeDefined();
    expect(why(make(policy), { runner: { image: 'example.com/retention:2' } })).toBeDefined();
  });

  it('whatever a webhook has made of its Pod, only if the policy differs', () => {
    const job = requested(policy);
    job.spec!.template.spec!.containers[0]!.image = 'mirror.example.com/retention:1';
    expect(why(job)).toBeUndefined();
  });

  it('while the policy is suspended or Stalled, or without that job', () => {
    expect(why(requested(policy), { stalled: true })).toBe('the policy is Stalled');
    expect(why(requested(policy), { policy: undefined })).toBe('the policy is Stalled');
    const suspend = policyWith({ preset: 'Development', suspend: true });
    expect(why(requested(policy), { policy: suspend })).toBe('the policy is suspended');
    const other = policyWith({ preset: 'Development', jobs: [{ name: 'other' }] });
    expect(why(requested(policy), { policy: other })).toBe('the policy has that job no longer');
  });
});

describe('a run is stopped', () => {
  const stop = (spec: object, now: Partial<Parameters<typeof whyStopped>[1]> = {}, job = scheduled(policy)) =>
    whyStopped(job, {
      policy: policyWith({ preset: 'Development', ...spec }),
      stalled: false,
      deleting: false,
      runner: image,
      ...now,
    });

  it.each([
    ['retention', { retention: { instructionRetentionDays: 8 } }],
    ['retention', { retention: { statuses: { sessions: ['error'] } } }],
    ['database', { database: { secretRef: { name: 'db' }, schema: 'other' } }],
    ['database', { database: { secretRef: { name: 'other' } } }],
    ['operations', { jobs: [{ name: 'cleanup', operations: ['sessions'] }] }],
    ['dryRun', { dryRun: true }],
    ['guard', { guard: { maxPercentOfTable: 51 } }],
    ['limits', { limits: { maxReplicationLag: '1Gi' } }],
    ['limits', { limits: { pauseBetweenBatches: '1s' } }],
  ])('when its policy changes what it does: %s', (part, spec) => {
    expect(stop(spec)).toBe(`the policy changed (${part})`);
  });

  it('one asked for as one scheduled, and neither when all is as it was', () => {
    expect(stop({}, {}, requested(policy))).toBeUndefined();
    expect(stop({})).toBeUndefined();
    expect(stop({ dryRun: true }, {}, requested(policy))).toBe('the policy changed (dryRun)');
  });

  it('when nothing may run any more', () => {
    expect(stop({ suspend: true })).toBe('the policy is suspended');
    expect(stop({}, { stalled: true })).toBe('the policy is Stalled');
    expect(stop({}, { policy: undefined })).toBe('the policy is Stalled');
    expect(stop({ suspend: true }, { stalled: true, deleting: true })).toBe('the policy is being deleted');
    expect(stop({ jobs: [{ name: 'other' }] })).toBe('the policy has that job no longer');
  });

  const { preset: _, ...values } = { preset: '', ...presets.Development };
  it.each([
    ['its history', { history: { runs: 1 } }],
    ['its schedule', { schedule: '0 5 * * *', timeZone: 'Europe/London' }],
    ['its Pods', { runner: { resources: { limits: { memory: '1Gi' } }, nodeSelector: { a: 'b' } } }],
    ['a name for the same values', { preset: 'Custom', retention: values }],
    ['another job', { jobs: [{ name: 'cleanup' }, { name: 'more' }] }],
  ])('but not by %s', (_what, spec) => {
    expect(stop(spec)).toBeUndefined();
  });

  it('nor by a controller that brings another image, or cannot read what another version asked for', () => {
    expect(stop({}, { runner: { image: 'example.com/retention:2', imagePullPolicy: 'Always' } })).toBeUndefined();
    const job = scheduled(policy);
    job.spec!.template.spec!.containers[0]!.env![0]!.value = '{"policy":{},"rules":[]}';
    expect(stop({ dryRun: true }, {}, job)).toBeUndefined();
    expect(stop({ suspend: true }, {}, job)).toBe('the policy is suspended');
  });
});

describe('Jobs that should not run', () => {
  const stored = { ...policyManifest('lab', 'smartem'), metadata: { namespace: 'lab', name: 'smartem', uid: 'uid-1' } };
  const running = { ...scheduled(policy), status: { ready: 1 } } as Job;
  running.metadata = { ...running.metadata, namespace: 'lab', uid: 'uid-job' };
  const suspended = { policy: policyWith({ suspend: true }), stalled: false, deleting: false, runner: image };
  const end = async (job: Job, patch: (body: object) => Promise<Job>) => {
    const events: string[] = [];
    const client = { mergePatch: (_: unknown, _ref: unknown, body: object) => patch(body) };
    const recorder = { record: (_: unknown, _type: string, reason: string) => events.push(reason) };
    const context = { client, events: recorder, ownWrites: new OwnWrites() } as never;
    return { events, ...(await endOutdated(context, stored, [job], suspended)) };
  };

  it('are stopped once, by their deadline, and named until they have ended', async () => {
    const patched: object[] = [];
    const first = await end(running, async (body) => {
      patched.push(body);
      return { ...running, metadata: { ...running.metadata, ...(body as Job).metadata } };
    });
    const annotations = { [stoppedAnnotation]: 'the policy is suspended' };
    expect(patched).toEqual([{ metadata: { uid: 'uid-job', annotations }, spec: { activeDeadlineSeconds: 1 } }]);
    expect(first).toMatchObject({ stopping: ['smartem-cleanup-1'], events: ['JobStopped'], error: undefined });

    const never = () => Promise.reject(new Error('patched twice'));
    expect(await end(first.jobs[0]!, never)).toMatchObject({ stopping: ['smartem-cleanup-1'], events: [] });
    const ended = { ...first.jobs[0]!, status: { conditions: [{ type: 'Failed', status: 'True' }] } } as Job;
    expect(await end(ended, never)).toMatchObject({ stopping: [], jobs: [ended], events: [] });
  });

  it('are named with the reason where they cannot be stopped, and not where they have gone', async () => {
    const error = new ApiError('jobs.batch is forbidden', { status: 403, reason: 'Forbidden' });
    const refused = await end(running, () => Promise.reject(error));
    const words = 'smartem-cleanup-1 (could not be stopped: jobs.batch is forbidden)';
    expect(refused).toMatchObject({ stopping: [words], jobs: [running], error });
    const gone = new ApiError('no', { status: 404, reason: 'NotFound' });
    expect(await end(running, () => Promise.reject(gone))).toMatchObject({ stopping: [], jobs: [], error: undefined });
  });
});

describe('a Job has started', () => {
  const job = jobOfRun('n1');
  const pending = (state: object, creationTimestamp?: string) =>
    podWith(state, {
      status: { phase: 'Pending', containerStatuses: [{ name: 'runner', state }] },
      creationTimestamp,
    });

  it('not without a Pod, nor while it waits', () => {
    expect(hasStarted(job, [])).toBe(false);
    expect(hasStarted(job, [pending({ waiting: { reason: 'ImagePullBackOff' } })])).toBe(false);
    expect(hasStarted(job, [podWith({}, { status: { phase: 'Pending', containerStatuses: undefined } })])).toBe(false);
  });

  it('when its container runs or has ended, or its Pod is gone that did', () => {
    expect(hasStarted(job, [pending({ running: {} })])).toBe(true);
    expect(hasStarted(job, [pending({ terminated: { exitCode: 0 } })])).toBe(true);
    expect(hasStarted(job, [podWith({}, { status: { phase: 'Succeeded' } })])).toBe(true);
    expect(hasStarted({ ...job, status: { uncountedTerminatedPods: { failed: ['uid'] } } }, [])).toBe(true);
    expect(hasStarted({ ...job, status: { failed: 1 } }, [])).toBe(true);
  });

  it('by the newest Pod: one that was drained is replaced', () => {
    const drained = podWith({}, { status: { phase: 'Failed' }, creationTimestamp: '2026-03-01T03:00:00Z' });
    expect(hasStarted(job, [drained, pending({}, '2026-03-01T03:00:09Z')])).toBe(false);
    expect(hasStarted(job, [drained])).toBe(true);
  });
});
