import { type RunRequest, runnerEnvironment, runRequestSchema } from '../api/run-request.ts';
import type { Job } from './objects.ts';
import { containerName, type PodTemplate } from './pod.ts';

/** What the Job's runner was asked to do; undefined where another version, or another program, wrote it in its own way. */
export function requestOf(job: Pick<Job, 'spec'>): RunRequest | undefined {
  return runRequestSchema.safeParse(requestJson(job.spec?.template)).data;
}

/** The request in a Pod template as it stands there, unchecked; undefined where there is none. */
export function requestJson(template: PodTemplate | undefined): unknown {
  const container = template?.spec?.containers?.find(({ name }) => name === containerName);
  const value = container?.env?.find(({ name }) => name === runnerEnvironment.request)?.value;
  return parseJson(value);
}

/** The parts in which two requests ask for different work; what triggers a run, and its preset's name, make none. */
export function differences(made: RunRequest, wanted: RunRequest): string[] {
  const [a, b] = [work(made), work(wanted)];
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
}

/** Parsed, so that the order of keys and the defaults are the same; without what runs have applied so far, which a run brings about. */
function work(request: RunRequest): Record<string, unknown> {
  const { trigger: _trigger, applied: _applied, retention, ...rest } = runRequestSchema.parse(request);
  const { preset: _preset, ...values } = retention;
  return { ...rest, retention: values };
}

/** JSON that others wrote; undefined where it is none. */
export function parseJson(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
}
