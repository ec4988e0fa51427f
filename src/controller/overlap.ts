import { statisticsJob } from '../api/spec.ts';
import { keyOf } from '../kubernetes/types.ts';
import { plannedJobs } from './desired.ts';
import type { Policy, StoredPolicy } from './objects.ts';

export interface Overlap {
  /** The older policy, which keeps running. */
  with: string;
  operations: string[];
}

/**
 * The older policy of the namespace that applies one of this policy's operations to the same Secret and schema; of two
 * such policies the shorter period would silently win. A policy that is itself held back holds back no other.
 */
export function findOverlap(policy: Policy, others: Policy[]): Overlap | undefined {
  const group = [policy, ...others.filter((other) => other.uid !== policy.uid && sameTables(other, policy))];
  const running: Policy[] = [];
  for (const candidate of group.sort(olderFirst)) {
    const overlap = running.map((older) => common(candidate, older)).find(({ operations }) => operations.length > 0);
    if (candidate === policy) return overlap;
    if (!overlap) running.push(candidate);
  }
  return undefined;
}

/** The same for all policies of a namespace on one database Secret; the policy need not be valid. */
export function secretKey({ metadata, spec }: StoredPolicy): string {
  const name = (spec as { database?: { secretRef?: { name?: unknown } } } | undefined)?.database?.secretRef?.name;
  return keyOf({ namespace: metadata.namespace, name: typeof name === 'string' ? name : '' });
}

/** Whether two policies use the same tables, as far as their specs tell. */
function sameTables(a: Policy, b: Policy): boolean {
  const [left, right] = [a.spec.database, b.spec.database];
  return a.namespace === b.namespace && left.secretRef.name === right.secretRef.name && left.schema === right.schema;
}

function common(policy: Policy, older: Policy): Overlap {
  const taken = operationsOf(older);
  return { with: older.name, operations: operationsOf(policy).filter((operation) => taken.includes(operation)) };
}

/** Statistics only read: they overlap with nothing. */
function operationsOf(policy: Policy): string[] {
  const jobs = plannedJobs(policy).filter((job) => job.name !== statisticsJob);
  return [...new Set(jobs.flatMap((job) => job.operations))];
}

function olderFirst(a: Policy, b: Policy): number {
  return Date.parse(a.creationTimestamp) - Date.parse(b.creationTimestamp) || (a.name < b.name ? -1 : 1);
}
