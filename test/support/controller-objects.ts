import { jobLabel, policyLabel } from '../../src/api/policy.ts';
import type { RunResult } from '../../src/api/run-result.ts';
import {
  type CoreEvent,
  type CronJob,
  type Job,
  type Pod,
  type Policy,
  parsePolicy,
} from '../../src/controller/objects.ts';
import type { KubernetesObject } from '../../src/kubernetes/types.ts';
import { policyManifest } from './policies.ts';

export const image = { image: 'example.com/retention:1' };

/** A valid policy with this spec beside a database and a schedule. */
export function policyWith(spec: Record<string, unknown> = {}, metadata: Partial<Policy> = {}): Policy {
  const { name = 'smartem', namespace = 'lab', uid = 'uid-1', creationTimestamp = '2026-01-01T00:00:00Z' } = metadata;
  const manifest = policyManifest(namespace, name, spec);
  const parsed = parsePolicy({ ...manifest, metadata: { namespace, name, uid, generation: 1, creationTimestamp } });
  if (!('policy' in parsed)) throw new Error(parsed.problem);
  return parsed.policy;
}

const labels = (job: string) => ({ [policyLabel]: 'smartem', [jobLabel]: job });

export function cronJobOf(job: string, spec: Partial<CronJob['spec']> = {}): CronJob {
  const jobTemplate = { spec: { template: {} } };
  return {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: { namespace: 'lab', name: `smartem-${job}`, labels: labels(job) },
    spec: { schedule: '0 3 * * *', timeZone: 'Etc/UTC', jobTemplate, ...spec },
  };
}

/** A Job that started at 03:00; it runs unless `ended` says how it did not. */
export function jobOfRun(
  name: string,
  { job = 'nightly', ended, startTime = '2026-03-01T03:00:00Z', ...more }: JobShape = {},
): Job {
  const conditions = ended && [{ status: 'True', lastTransitionTime: '2026-03-01T03:05:00Z', ...ended }];
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { namespace: 'lab', name, uid: `uid-${name}`, creationTimestamp: startTime, labels: labels(job) },
    spec: { activeDeadlineSeconds: 4500, template: {} },
    status: { startTime, conditions, active: ended ? 0 : 1 },
    ...more,
  } as Job;
}
interface JobShape {
  job?: string;
  ended?: { type: 'Complete' | 'Failed'; reason?: string; message?: string; lastTransitionTime?: string };
  startTime?: string;
  spec?: object;
}

/** A Pod of one runner container in this state. */
export function podWith(
  state: object,
  { status = {}, ...more }: { status?: object; creationTimestamp?: string } = {},
): Pod {
  const { creationTimestamp = '2026-03-01T03:00:00Z' } = more;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: 'lab', name: 'smartem-nightly-1-abcde', creationTimestamp },
    spec: {
      containers: [{ name: 'runner', image: 'example.com/retention:1', resources: { limits: { memory: '256Mi' } } }],
    },
    status: { containerStatuses: [{ name: 'runner', state }], ...status },
  } as unknown as Pod;
}

export function failedCreate(message: string, lastTimestamp = '2026-03-01T03:00:01Z'): CoreEvent {
  return { type: 'Warning', reason: 'FailedCreate', message, lastTimestamp } as CoreEvent;
}

export function runOf(job: string, fields: Partial<RunResult> = {}): RunResult {
  return {
    id: `smartem-${job}-1`,
    job,
    trigger: 'Schedule',
    startTime: '2026-03-01T03:00:00Z',
    completionTime: '2026-03-01T03:01:00Z',
    durationSeconds: 60,
    result: 'Succeeded',
    rows: 7,
    operations: [],
    ...fields,
  };
}

/** A CronJob with the starting deadline that the live one has: after another schedule that is short for a while. */
export function withDeadlineOf<T extends KubernetesObject>(live: KubernetesObject, wanted: T): T {
  if (wanted.kind !== 'CronJob') return wanted;
  const { startingDeadlineSeconds } = (live as CronJob).spec ?? {};
  return { ...wanted, spec: { ...(wanted as KubernetesObject as CronJob).spec, startingDeadlineSeconds } };
}
