import { type Database, databaseSchema } from '../api/run-result.ts';
import { statisticsJob } from '../api/spec.ts';
import { keyOf } from '../kubernetes/types.ts';
import { plannedJobs } from './desired.ts';
import type { Policy, StoredPolicy } from './objects.ts';

/** A policy, and by what its runs know the database and schema they worked on; undefined before the first of them. */
export interface Rival {
  policy: Policy;
  fingerprint: string | undefined;
}

export interface Overlap {
  /** The older policy, which keeps running. */
  with: Policy;
  /** Whether both name the same Secret and schema; else their runs found the same database behind two Secrets. */
  bySecret: boolean;
  operations: string[];
}

/**
 * The older policy that applies one of this policy's operations to the same tables; of two such policies the shorter
 * period would silently win. A policy that is itself held back holds back no other.
 */
export function findOverlap(rival: Rival, others: Rival[]): Overlap | undefined {
  const group = [rival, ...others.filter((other) => other.policy.uid !== rival.policy.uid && sameTables(other, rival))];
  const running: Rival[] = [];
  for (const candidate of group.sort(olderFirst)) {
    const overlap = running.flatMap((older) => overlapOf(candidate, older) ?? [])[0];
    if (candidate === rival) return overlap;
    if (!overlap) running.push(candidate);
  }
  return undefined;
}

/** What the policies that may overlap have in common: the Secret of their namespace, or the database of their runs. The policy need not be valid. */
export function overlapKeys(stored: StoredPolicy): string[] {
  const fingerprint = databaseOf(stored)?.fingerprint;
  const named = namedDatabase(stored)?.secret;
  const secret = keyOf({ namespace: stored.metadata.namespace, name: typeof named === 'string' ? named : '' });
  return [secret, ...(fingerprint === undefined ? [] : [`fingerprint ${fingerprint}`])];
}

/**
 * Whether a policy is Stalled for a reason of its own, so that it holds back no other until its status says that it runs again.
 * One that only another holds back counts by what it asks for: see `findOverlap`.
 */
export function isStalledItself({ status }: StoredPolicy): boolean {
  const { conditions, nextRun } = (status ?? {}) as { conditions?: unknown; nextRun?: unknown };
  const stalled = (Array.isArray(conditions) ? conditions : []).find((each) => each?.type === 'Stalled');
  // With a next run its CronJobs could not be suspended.
  return stalled?.status === 'True' && stalled.reason !== 'Overlap' && nextRun === undefined;
}

/**
 * The database that the policy's newest run worked on; runs that found none, since they could not connect, do not count.
 * It is undefined as soon as the spec names another Secret or schema.
 */
export function databaseOf(stored: StoredPolicy): Database | undefined {
  const named = namedDatabase(stored);
  const { database, jobs } = (stored.status ?? {}) as { database?: unknown; jobs?: unknown };
  const runs = (Array.isArray(jobs) ? jobs : [])
    .map((job) => (job as { lastRun?: { completionTime?: unknown; database?: unknown } } | null)?.lastRun)
    .filter((run) => run?.database !== undefined)
    .sort((a, b) => Date.parse(String(b!.completionTime)) - Date.parse(String(a!.completionTime)));
  const known = [...runs.map((run) => run!.database), database].flatMap(
    (each) => databaseSchema.safeParse(each).data ?? [],
  );
  return known.find(({ secret, schema }) => secret === named?.secret && schema === named.schema);
}

/** What the spec says of the database, unchecked. */
function namedDatabase({ spec }: StoredPolicy): { secret: unknown; schema: unknown } | undefined {
  const { database } = (spec ?? {}) as { database?: { secretRef?: { name?: unknown }; schema?: unknown } };
  return database && { secret: database.secretRef?.name, schema: database.schema ?? 'public' };
}

function sameTables(a: Rival, b: Rival): boolean {
  return sameSecret(a.policy, b.policy) || (a.fingerprint !== undefined && a.fingerprint === b.fingerprint);
}

/** Whether two policies use the same tables as far as their specs tell. */
function sameSecret(a: Policy, b: Policy): boolean {
  const [left, right] = [a.spec.database, b.spec.database];
  return a.namespace === b.namespace && left.secretRef.name === right.secretRef.name && left.schema === right.schema;
}

function overlapOf(rival: Rival, older: Rival): Overlap | undefined {
  if (!sameTables(rival, older)) return undefined;
  const taken = operationsOf(older.policy);
  const operations = operationsOf(rival.policy).filter((operation) => taken.includes(operation));
  if (operations.length === 0) return undefined;
  return { with: older.policy, bySecret: sameSecret(rival.policy, older.policy), operations };
}

/** Statistics only read: they overlap with nothing. */
function operationsOf(policy: Policy): string[] {
  const jobs = plannedJobs(policy).filter((job) => job.name !== statisticsJob);
  return [...new Set(jobs.flatMap((job) => job.operations))];
}

function olderFirst({ policy: a }: Rival, { policy: b }: Rival): number {
  return Date.parse(a.creationTimestamp) - Date.parse(b.creationTimestamp) || (keyOf(a) < keyOf(b) ? -1 : 1);
}
