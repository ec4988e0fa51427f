import { badInputExitCode } from '../api/run-result.ts';
import { type CoreEvent, finishedAs, type Job, type Pod } from './objects.ts';
import { containerName } from './pod.ts';

/** A cluster that adds nodes when they are needed takes this long; until then a waiting Pod is no problem. */
const schedulingGraceMs = 120_000;

/** A Job, its Pods and the Events about it. */
export interface JobEvidence {
  job: Job;
  pods: Pod[];
  events: CoreEvent[];
}

/** Why the Pod of a Job that has not finished does not start, as a sentence that says what to do; undefined if nothing is wrong. */
export function whyNotStarted({ job, pods, events }: JobEvidence, now: Date): string | undefined {
  const pod = newestPod(pods);
  return pod ? whyWaiting(pod, now) : whyRefused(job, events);
}

/** Why a finished Job left no result, as a sentence that says what to do. */
export function whyNoResult({ job, pods, events }: JobEvidence): string {
  const end = finishedAs(job);
  const pod = newestPod(pods);
  if (end?.reason === 'DeadlineExceeded') {
    const seconds = job.spec?.activeDeadlineSeconds;
    return `The run was killed ${seconds} s after its start, 15 minutes past spec.limits.maxDuration: its Pod hung or never started; see the Events of Job ${job.metadata.name}`;
  }
  if (!pod) {
    const refused = whyRefused(job, events);
    return refused ?? `The Pod of Job ${job.metadata.name} is gone and left no result: ${end?.message ?? 'no reason'}`;
  }
  return whyEnded(pod);
}

/** The end of the log that the kubelet kept, for a runner that wrote no result: its last line's message. */
export function lastWords(pod: Pod): string | undefined {
  const line = terminated(pod)?.message?.trim().split('\n').at(-1);
  if (!line) return undefined;
  try {
    const { msg } = JSON.parse(line) as { msg?: unknown };
    return typeof msg === 'string' ? msg : line;
  } catch {
    return line;
  }
}

export function newestPod(pods: Pod[]): Pod | undefined {
  const created = (pod: Pod) => Date.parse(pod.metadata.creationTimestamp ?? '') || 0;
  return pods.toSorted((a, b) => created(b) - created(a))[0];
}

export function terminated(pod: Pod) {
  return containerStatus(pod)?.state?.terminated;
}

export function containerStatus(pod: Pod) {
  return pod.status?.containerStatuses?.find(({ name }) => name === containerName);
}

function container(pod: Pod) {
  return pod.spec?.containers.find(({ name }) => name === containerName);
}

/** A Job whose Pods are refused at their creation has Events, and nothing else. */
function whyRefused(job: Job, events: CoreEvent[]): string | undefined {
  const refusals = events.filter(({ type, reason }) => type === 'Warning' && reason === 'FailedCreate');
  const newest = refusals.toSorted((a, b) => (a.lastTimestamp ?? '').localeCompare(b.lastTimestamp ?? '')).at(-1);
  if (!newest) return undefined;
  // The refused Pod's name is another at each attempt.
  const words = (newest.message ?? '').replace(/^Error creating: /, '').replace(/^pods "[^"]*" is forbidden: /, '');
  if (words.includes('violates PodSecurity')) {
    return `The Pod was refused by the namespace's Pod Security Standard: check spec.runner.securityContext against it (${words})`;
  }
  if (words.includes('exceeded quota') || words.includes('failed quota')) {
    return `The Pod was refused by a ResourceQuota: raise the quota, or set spec.runner.resources to fit it (${words})`;
  }
  if (words.includes('service account') || words.includes('serviceaccount')) {
    return `The Pod was refused because its service account is missing: the controller makes it again (${words})`;
  }
  return `No Pod could be made for Job ${job.metadata.name}: ${words}`;
}

/** Why a Pod waits. Words that the kubelet changes at each attempt stay out: each change would be a status write. */
function whyWaiting(pod: Pod, now: Date): string | undefined {
  const { name, namespace } = pod.metadata;
  const { reason = '', message } = containerStatus(pod)?.state?.waiting ?? {};
  const image = container(pod)?.image;
  if (reason === 'InvalidImageName') {
    return `The image name ${image} is not valid: correct the controller's flag --image`;
  }
  if (/^(ErrImagePull|ImagePullBackOff|ErrImageNeverPull|RegistryUnavailable|ImageInspectError)$/.test(reason)) {
    return `The image ${image} cannot be pulled: check the controller's flag --image and spec.runner.imagePullSecrets; kubectl describe pod ${name} -n ${namespace} says more`;
  }
  if (/^(CreateContainerConfigError|CreateContainerError|RunContainerError)$/.test(reason)) {
    return `The container of Pod ${name} cannot start: ${message ?? reason}`;
  }
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  const waitedMs = now.getTime() - Date.parse(scheduled?.lastTransitionTime ?? pod.metadata.creationTimestamp ?? '');
  if (scheduled?.status === 'False' && scheduled.reason === 'Unschedulable' && waitedMs >= schedulingGraceMs) {
    return `No node takes Pod ${name}: check spec.runner.resources, nodeSelector, tolerations and affinity (${scheduled.message})`;
  }
  return undefined;
}

function whyEnded(pod: Pod): string {
  const { name } = pod.metadata;
  const { reason, message } = pod.status ?? {};
  const end = terminated(pod);
  if (reason === 'Evicted') {
    return `The Pod was evicted from its node: set spec.runner.resources.requests to what it needs (${message})`;
  }
  if (end?.reason === 'OOMKilled') {
    const limit = container(pod)?.resources?.limits?.memory;
    const words = limit ? `its limit of ${limit}` : "its node's memory";
    return `The runner was killed because it used up ${words}: raise spec.runner.resources.limits.memory, or lower spec.retention.batchSize`;
  }
  if (!end) return `Pod ${name} failed before its container ran: ${[reason, message].filter(Boolean).join(': ')}`;
  const words = lastWords(pod);
  if (end.exitCode === badInputExitCode) return `The runner refused its configuration: ${words ?? 'see its log'}`;
  if (end.exitCode > 128) {
    const signal = { 137: 'SIGKILL', 143: 'SIGTERM' }[end.exitCode] ?? `signal ${end.exitCode - 128}`;
    return `The runner was killed (${signal}) before it could report: what it had committed stays, the next run goes on from there`;
  }
  return `The runner ended with exit code ${end.exitCode} and left no result: ${words ?? `see the log of Pod ${name}`}`;
}
