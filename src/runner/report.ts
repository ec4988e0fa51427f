import { setTimeout as sleep } from 'node:timers/promises';
import { apiVersion, kind, plural, runFieldManager, statisticsFieldManager } from '../api/policy.ts';
import type { RunRequest } from '../api/run-request.ts';
import type { RunReport } from '../api/run-result.ts';
import { ApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import type { Logger } from '../kubernetes/logger.ts';
import type { KubernetesObject, Resource } from '../kubernetes/types.ts';

const policies: Resource<KubernetesObject & { status?: object }> = { apiVersion, kind, plural, namespaced: true };

/**
 * Answers that no second try changes: no such policy any more, another policy of that name, refused content. A right that
 * is missing is not one: an API server that has just started does not know all roles yet.
 */
const final = new Set([400, 404, 409, 422]);
const requestTimeoutMs = 5_000;

/** How long a report is tried; times in milliseconds. */
export interface ReportLimits {
  patienceMs: number;
  signal: AbortSignal;
}

/**
 * Writes a run's part of the status, by server-side apply under the job's own field manager: one manager for all jobs
 * would delete the others' results. Tried again while the API server is away, until patience is over or `signal` is
 * aborted. Never throws: the run has happened, and its result stays as termination message.
 */
export async function reportToStatus(
  client: Client,
  policy: RunRequest['policy'],
  report: RunReport,
  log: Logger,
  limits: ReportLimits,
): Promise<void> {
  const { statistics, ...lastRun } = report;
  const end = Date.now() + limits.patienceMs;
  const apply = (fieldManager: string, status: object) =>
    applyPatiently(client, policy, fieldManager, status, log, end, limits.signal);
  // First what the run has found: whoever sees the run in the status finds its statistics there too.
  if (statistics !== undefined) await apply(statisticsFieldManager, { statistics });
  await apply(runFieldManager(report.job), { jobs: [{ name: report.job, lastRun }] });
}

/** One apply, tried once at least, and again until `end`. */
async function applyPatiently(
  client: Client,
  policy: RunRequest['policy'],
  fieldManager: string,
  status: object,
  log: Logger,
  end: number,
  signal: AbortSignal,
): Promise<void> {
  // The uid says whose result it is: the API server compares it where a spec is written, and not yet for a status.
  const metadata = { name: policy.name, namespace: policy.namespace, uid: policy.uid };
  const options = { fieldManager, force: true, subresource: 'status' as const, timeoutMs: requestTimeoutMs };
  for (let pauseMs = 250; ; pauseMs = Math.min(pauseMs * 2, 5_000)) {
    try {
      await client.apply(policies, { metadata, status }, options);
      return;
    } catch (error) {
      const code = error instanceof ApiError ? error.status : undefined;
      const message = (error as Error).message;
      if ((code !== undefined && final.has(code)) || Date.now() + pauseMs > end || signal.aborted) {
        log.error({ error: message }, 'the result could not be written to the status; it stays as termination message');
        return;
      }
      log.warn({ error: message, retryInMs: pauseMs }, 'writing the result to the status failed');
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
    }
  }
}
