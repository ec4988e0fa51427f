import type {
  CoreV1Event,
  V1CronJob,
  V1Job,
  V1Pod,
  V1Role,
  V1RoleBinding,
  V1ServiceAccount,
} from '@kubernetes/client-node';
import type { Applied } from '../api/applied.ts';
import { apiVersion, explain, kind, plural, suspendedUntil } from '../api/policy.ts';
import { type RetentionPolicySpec, specSchema } from '../api/rules.ts';
import { type JobStatus, jobStatusSchema, type RetentionPolicyStatus, statusSchema } from '../api/status.ts';
import type { KubernetesObject, Live, ObjectMeta, Resource } from '../kubernetes/types.ts';
import { appliedValues } from './applied.ts';

export type CronJob = Live<V1CronJob>;
export type Job = Live<V1Job>;
export type Pod = Live<V1Pod>;
export type CoreEvent = Live<CoreV1Event>;
export type ServiceAccount = Live<V1ServiceAccount>;
export type Role = Live<V1Role>;
export type RoleBinding = Live<V1RoleBinding>;

/** A policy as the API server returns it, not checked yet. */
export interface StoredPolicy extends KubernetesObject {
  spec?: unknown;
  status?: unknown;
}

const rbac = 'rbac.authorization.k8s.io/v1';
/** Everything that the controller reads or writes. */
export const resources = {
  policies: { apiVersion, kind, plural, namespaced: true } as Resource<StoredPolicy>,
  cronJobs: { apiVersion: 'batch/v1', kind: 'CronJob', plural: 'cronjobs', namespaced: true } as Resource<CronJob>,
  jobs: { apiVersion: 'batch/v1', kind: 'Job', plural: 'jobs', namespaced: true } as Resource<Job>,
  pods: { apiVersion: 'v1', kind: 'Pod', plural: 'pods', namespaced: true } as Resource<Pod>,
  events: { apiVersion: 'v1', kind: 'Event', plural: 'events', namespaced: true } as Resource<CoreEvent>,
  serviceAccounts: {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    plural: 'serviceaccounts',
    namespaced: true,
  } as Resource<ServiceAccount>,
  roles: { apiVersion: rbac, kind: 'Role', plural: 'roles', namespaced: true } as Resource<Role>,
  roleBindings: {
    apiVersion: rbac,
    kind: 'RoleBinding',
    plural: 'rolebindings',
    namespaced: true,
  } as Resource<RoleBinding>,
};

/** A policy whose spec is valid, with its defaults filled in. */
export interface Policy {
  namespace: string;
  name: string;
  uid: string;
  generation: number;
  creationTimestamp: string;
  /** As it is stored, but that `suspend` is true for the annotation too. */
  spec: RetentionPolicySpec;
  /** Until when it is suspended, in words; undefined where `spec.suspend` is false. */
  suspendedUntil?: string | undefined;
  /** The values under which runs have last succeeded, for the runs to come. */
  applied?: Applied | undefined;
}

/** A run gets its part of the spec as one environment variable of its Pod, which the Linux kernel limits to 128 KiB. */
const maxSpecBytes = 100 * 1024;

/** Checks a stored policy; `problem` says which field is wrong and why. */
export function parsePolicy(stored: StoredPolicy): { policy: Policy } | { problem: string } {
  if (stored.omitted?.spec) return { problem: `the spec ${stored.omitted.spec}: make it smaller` };
  const bytes = Buffer.byteLength(JSON.stringify(stored.spec ?? {}));
  if (bytes > maxSpecBytes) {
    return {
      problem: `the spec has ${bytes} bytes of JSON, and may have ${maxSpecBytes}: a run gets it as one environment variable, which the kernel limits to 128 KiB`,
    };
  }
  const { data: spec, error } = specSchema.safeParse(stored.spec);
  if (error) return { problem: explain(error, stored.spec) };
  const { namespace, name, uid, generation, creationTimestamp, annotations } = stored.metadata;
  const until = suspendedUntil(annotations, spec.suspend);
  return {
    policy: {
      namespace: namespace!,
      name,
      uid: uid!,
      generation: generation ?? 0,
      creationTimestamp: creationTimestamp ?? '',
      spec: { ...spec, suspend: until !== undefined },
      suspendedUntil: until,
      applied: appliedValues(parseStatus(stored)),
    },
  };
}

/**
 * The status as it is stored, field by field: what another version wrote and this one cannot read is left out and written
 * anew, and hides nothing else, above all not which request for a run has been handled.
 */
export function parseStatus(stored: StoredPolicy): RetentionPolicyStatus {
  const status = (stored.status ?? {}) as Record<string, unknown>;
  const { jobs, ...others } = statusSchema.shape;
  const fields = Object.entries(others).map(([name, schema]) => [name, schema.safeParse(status[name]).data]);
  const entries = Array.isArray(status.jobs) ? status.jobs.flatMap(parseJobStatus) : undefined;
  return Object.fromEntries([...fields, ['jobs', entries]].filter(([, value]) => value !== undefined));
}

// Made once: a schema of its own for each of thousands of statuses is garbage that outlives quick collections.
const withoutLastRun = jobStatusSchema.omit({ lastRun: true });

function parseJobStatus(entry: unknown): JobStatus[] {
  const whole = jobStatusSchema.safeParse(entry);
  if (whole.success) return [whole.data];
  const rest = withoutLastRun.safeParse(entry);
  return rest.success ? [rest.data] : [];
}

/** Whether the object's controller is the owner of this UID. */
export function isControlledBy(object: { metadata: ObjectMeta }, uid: string): boolean {
  return object.metadata.ownerReferences?.some((owner) => owner.controller && owner.uid === uid) ?? false;
}

/** RFC 3339, UTC, whole seconds: how Kubernetes writes times. */
export function timestamp(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}

/** How a Job ended, or undefined while it has not. */
export function finishedAs(job: Job): NonNullable<NonNullable<Job['status']>['conditions']>[number] | undefined {
  return job.status?.conditions?.find(({ type, status }) => /^(Complete|Failed)$/.test(type) && status === 'True');
}

export function isFinished(job: Job): boolean {
  return finishedAs(job) !== undefined;
}
