import {
  exitCodes,
  type Result,
  type RunReport,
  type RunResult,
  resultWithoutOperations,
  runReportSchema,
} from '../api/run-result.ts';
import { type JobEvidence, lastWords, newestPod, terminated, whyNoResult } from './diagnosis.ts';
import { parseJson, requestOf } from './job-request.ts';
import { finishedAs, type Job, type Pod } from './objects.ts';
import { jobOf } from './pod.ts';
import { explained, stoppedBecause } from './stopped.ts';

/** A Job is seen as finished some seconds after its run has ended; longer after it there was a second Pod, perhaps. */
const usualDelayMs = 60_000;

/**
 * The finished Job of one of the policy's jobs whose run may not be in the status: the one that finished last, and only
 * if that was after the run that is there. A start says nothing: a run that waits for another ends Skipped before it.
 */
export function unreportedJob(jobs: Job[], job: string, stored: RunResult | undefined): Job | undefined {
  const last = jobs
    .filter((candidate) => jobOf(candidate) === job && finishedAs(candidate))
    .toSorted((a, b) => endOf(b) - endOf(a))[0];
  if (!last || !stored) return last;
  const delay = last.metadata.name === stored.id ? usualDelayMs : 0;
  return endOf(last) > Date.parse(stored.completionTime) + delay ? last : undefined;
}

function endOf(job: Job): number {
  return Date.parse(finishedAs(job)?.lastTransitionTime ?? '') || 0;
}

/** Whether what a Job left is news beside the run that is in the status. */
export function replaces(run: RunResult, stored: RunResult | undefined): boolean {
  if (!stored) return true;
  // Of a drained run's second Pod the Job, and so the id, is the same.
  const since = run.id === stored.id ? run.startTime : run.completionTime;
  return Date.parse(since) > Date.parse(stored.completionTime);
}

/** What a finished Job's run would have reported: its Pod's termination message, or what its end tells. */
export function unreportedRun(evidence: JobEvidence): RunReport {
  const pod = newestPod(evidence.pods);
  return explained((pod && leftReport(pod, evidence.job)) ?? reconstructed(evidence, pod), evidence.job);
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
  if (stoppedBecause(evidence.job)) {
    return { result: 'Partial', message: 'its Pod was killed before it could report: what it had committed stays' };
  }
  const exitCode = pod && terminated(pod)?.exitCode;
  const told = (['Blocked', 'Partial', 'Skipped'] as const).find((result) => exitCodes[result] === exitCode);
  if (pod && told) return { result: told, message: lastWords(pod) ?? `The runner ended with exit code ${exitCode}` };
  return { result: 'Failed', message: whyNoResult(evidence) };
}
