import { type RunRequest, runnerEnvironment, runRequestSchema } from '../api/run-request.ts';
import {
  exitCodes,
  type Result,
  type RunReport,
  type RunResult,
  resultWithoutOperations,
  runReportSchema,
} from '../api/run-result.ts';
import { type JobEvidence, lastWords, newestPod, terminated, whyNoResult } from './diagnosis.ts';
import { finishedAs, type Job, type Pod } from './objects.ts';
import { containerName, jobOf } from './pod.ts';

/**
 * The finished Job of one of the policy's jobs whose run is not in the status: the newest, and only if it started after
 * the run that is.
 */
export function unreportedJob(jobs: Job[], job: string, stored: RunResult | undefined): Job | undefined {
  const newest = jobs
    .filter((candidate) => jobOf(candidate) === job && finishedAs(candidate))
    .toSorted((a, b) => startOf(b) - startOf(a))[0];
  if (!newest || newest.metadata.name === stored?.id) return undefined;
  return stored && startOf(newest) <= Date.parse(stored.startTime) ? undefined : newest;
}

function startOf(job: Job): number {
  return Date.parse(job.status?.startTime ?? job.metadata.creationTimestamp ?? '') || 0;
}

/** What a finished Job's run would have reported: its Pod's termination message, or what its end tells. */
export function unreportedRun(evidence: JobEvidence): RunReport {
  const pod = newestPod(evidence.pods);
  return (pod && leftReport(pod, evidence.job)) ?? reconstructed(evidence, pod);
}

function leftReport(pod: Pod, job: Job): RunReport | undefined {
  const report = runReportSchema.safeParse(parseJson(terminated(pod)?.message)).data;
  return report?.id === job.metadata.name ? report : undefined;
}

function reconstructed(evidence: JobEvidence, pod: Pod | undefined): RunReport {
  const { job } = evidence;
  const request = requestOf(job);
  const container = pod && terminated(pod);
  const startTime = container?.startedAt ?? job.status?.startTime ?? job.metadata.creationTimestamp!;
  const ended = container?.finishedAt ?? job.status?.completionTime ?? finishedAs(job)?.lastTransitionTime;
  const identity = { id: job.metadata.name, job: jobOf(job)!, trigger: request?.trigger ?? ('Schedule' as const) };
  const { result, message } = outcome(evidence, pod, request?.dryRun ?? false);
  return resultWithoutOperations(identity, result, new Date(startTime), new Date(ended ?? startTime), message);
}

function outcome(evidence: JobEvidence, pod: Pod | undefined, dryRun: boolean): { result: Result; message: string } {
  if (finishedAs(evidence.job)?.type === 'Complete') {
    const message = 'The run succeeded but left no result: only its log says what it changed';
    return { result: dryRun ? 'DryRun' : 'Succeeded', message };
  }
  const exitCode = pod && terminated(pod)?.exitCode;
  const told = (['Blocked', 'Partial', 'Skipped'] as const).find((result) => exitCodes[result] === exitCode);
  if (pod && told) return { result: told, message: lastWords(pod) ?? `The runner ended with exit code ${exitCode}` };
  return { result: 'Failed', message: whyNoResult(evidence) };
}

function requestOf(job: Job): Pick<RunRequest, 'trigger' | 'dryRun'> | undefined {
  const container = job.spec?.template.spec?.containers.find(({ name }) => name === containerName);
  const value = container?.env?.find(({ name }) => name === runnerEnvironment.request)?.value;
  return runRequestSchema.safeParse(parseJson(value)).data;
}

function parseJson(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
}
