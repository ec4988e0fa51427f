import type { RetentionPolicySpec } from '../api/rules.ts';
import { ApiError } from '../kubernetes/api-error.ts';
import type { Problem } from './conditions.ts';

/** Words of admission webhooks and policies; the status is whatever they choose. */
const denial = /\bdenied (the )?request\b|\bValidatingAdmissionPolicy\b/;

/** What somebody denies who may let it pass later, by the API server's words: an admission policy or webhook, or a quota. */
export function denied(error: unknown): Problem | undefined {
  if (!(error instanceof ApiError) || error.status < 400) return undefined;
  const { message, status } = error;
  if (denial.test(message)) return { reason: 'AdmissionDenied', message };
  if (status === 403 && message.includes('exceeded quota')) return { reason: 'QuotaExceeded', message };
  return undefined;
}

/** What the API server says of a CronJob that it will never take, and which field of the policy is to blame. */
export function invalid(error: unknown, { runner = {} }: Pick<RetentionPolicySpec, 'runner'>): Problem | undefined {
  if (!(error instanceof ApiError)) return undefined;
  const { message } = error;
  // A field that is unknown or of another type is no 4xx to a server-side apply.
  const malformed = error.status === 500 && /^failed to (create typed|convert new object)/.test(message);
  if (error.status !== 422 && error.status !== 400 && !malformed) return undefined;
  const fields = error.causes.map((cause) => cause.field ?? '');
  if (fields.some((field) => /^spec\.(schedule|timeZone)/.test(field))) return { reason: 'InvalidSchedule', message };
  const said = fields.length > 0 ? fields : [message];
  const blamed = Object.keys(runner).filter((name) => said.some((text) => new RegExp(`\\.${name}\\b`).test(text)));
  return blamed.length > 0
    ? {
        reason: 'InvalidRunner',
        message: `The API server refuses the CronJob for ${blamed.map((name) => `spec.runner.${name}`).join(', ')}: ${message}`,
      }
    : { reason: 'InvalidCronJob', message: `The API server refuses the CronJob: ${message}` };
}
