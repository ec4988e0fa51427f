import { createHash } from 'node:crypto';
import { milliseconds } from '../api/duration.ts';
import { apiVersion, group, kind, plural } from '../api/policy.ts';
import type { RunRequest } from '../api/run-request.ts';
import { operationsOf, statisticsJob } from '../api/spec.ts';
import type { OwnerReference } from '../kubernetes/types.ts';
import { cronJobName, requestedJobName, runAccountName } from './names.ts';
import type { CronJob, Job, Policy, Role, RoleBinding, ServiceAccount } from './objects.ts';
import { ownLabels, type PlannedJob, podTemplate, type RunnerImage } from './pod.ts';

/** The runner ends itself at maxDuration; this much later the Pod is killed, as the last resort. */
const deadlineGraceSeconds = 15 * 60;
/** A node that slept or a controller manager that was away may start a run this late. */
export const startingDeadlineSeconds = 600;
const requestedJobTtlSeconds = 24 * 60 * 60;

/** On a Job: which Pod template it was made with; what the API server or a webhook makes of that does not count. */
export const templateHashAnnotation = `${group}/template-hash`;

/** Everything that a policy asks for. */
export interface Desired {
  cronJobs: CronJob[];
  serviceAccount: ServiceAccount;
  role: Role;
  roleBinding: RoleBinding;
}

/** The jobs of a policy, statistics last; operations in the order in which a cleanup runs them. */
export function plannedJobs({ spec }: Pick<Policy, 'spec'>): PlannedJob[] {
  const jobs: NonNullable<typeof spec.jobs> = spec.jobs ?? [{ name: 'cleanup' }];
  const planned: PlannedJob[] = jobs.map((job) => ({
    name: job.name,
    schedule: job.schedule ?? spec.schedule,
    operations: operationsOf(job),
  }));
  if (spec.statistics) {
    planned.push({ name: statisticsJob, schedule: spec.statistics.schedule, operations: ['statistics'] });
  }
  return planned;
}

/** What should exist for a policy. Two calls with the same input give the same objects. */
export function desiredObjects(policy: Policy, runner: RunnerImage): Desired {
  const name = runAccountName(policy.name);
  const meta = { name, namespace: policy.namespace, labels: ownLabels(policy), ownerReferences: [owner(policy)] };
  const rbac = 'rbac.authorization.k8s.io/v1';
  return {
    cronJobs: plannedJobs(policy).map((job) => cronJob(policy, job, runner)),
    serviceAccount: {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: meta,
      automountServiceAccountToken: false,
    },
    role: {
      apiVersion: rbac,
      kind: 'Role',
      metadata: meta,
      rules: [{ apiGroups: [group], resources: [`${plural}/status`], resourceNames: [policy.name], verbs: ['patch'] }],
    },
    roleBinding: {
      apiVersion: rbac,
      kind: 'RoleBinding',
      metadata: meta,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace: policy.namespace }],
    },
  };
}

function cronJob(policy: Policy, job: PlannedJob, runner: RunnerImage): CronJob {
  const { spec } = policy;
  return {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: {
      name: cronJobName(policy.name, job.name),
      namespace: policy.namespace,
      labels: ownLabels(policy, job.name),
      ownerReferences: [owner(policy)],
    },
    spec: {
      schedule: job.schedule,
      timeZone: spec.timeZone,
      suspend: spec.suspend,
      concurrencyPolicy: 'Forbid',
      startingDeadlineSeconds,
      successfulJobsHistoryLimit: spec.history.successfulJobs,
      failedJobsHistoryLimit: spec.history.failedJobs,
      jobTemplate: {
        metadata: {
          labels: ownLabels(policy, job.name),
          annotations: { [templateHashAnnotation]: templateHash(policy, job, runner) },
        },
        spec: jobSpec(policy, job, 'Schedule', runner),
      },
    },
  };
}

/** The Job of a run that was asked for with this annotation value; gone a day after its end. */
export function requestedJob(policy: Policy, job: PlannedJob, value: string, runner: RunnerImage): Job {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: requestedJobName(policy, job.name, value),
      namespace: policy.namespace,
      labels: ownLabels(policy, job.name),
      annotations: { [templateHashAnnotation]: templateHash(policy, job, runner) },
      ownerReferences: [owner(policy)],
    },
    spec: { ...jobSpec(policy, job, 'Manual', runner), ttlSecondsAfterFinished: requestedJobTtlSeconds },
  };
}

/**
 * The same for each Job of this job whose Pod would be the same, whatever triggers it. What runs have applied so far is left
 * out: no success makes a Job outdated.
 */
export function templateHash(policy: Policy, job: PlannedJob, runner: RunnerImage): string {
  const template = JSON.stringify(podTemplate({ ...policy, applied: undefined }, job, 'Schedule', runner));
  return createHash('sha256').update(template).digest('hex').slice(0, 16);
}

function jobSpec(
  policy: Policy,
  job: PlannedJob,
  trigger: RunRequest['trigger'],
  runner: RunnerImage,
): NonNullable<Job['spec']> {
  return {
    // As by default, and stated all the same, so that what others make of them on the way is seen.
    suspend: false,
    parallelism: 1,
    completions: 1,
    // A failed run is not repeated at once: the next one goes on from where it stopped. A drained one starts again.
    backoffLimit: 0,
    podReplacementPolicy: 'Failed',
    podFailurePolicy: {
      rules: [{ action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }],
    },
    activeDeadlineSeconds: Math.ceil(milliseconds(policy.spec.limits.maxDuration) / 1000) + deadlineGraceSeconds,
    template: podTemplate(policy, job, trigger, runner),
  };
}

function owner({ name, uid }: Policy): OwnerReference {
  return { apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true };
}
