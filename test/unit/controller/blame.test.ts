import { describe, expect, it } from 'vitest';
import { denied, invalid } from '../../../src/controller/blame.ts';
import { ApiError } from '../../../src/kubernetes/api-error.ts';

const error = (status: number, message: string, ...fields: string[]) =>
  new ApiError(message, { status, reason: 'x', causes: fields.map((field) => ({ field })) });
const template = 'spec.jobTemplate.spec.template.spec';

describe('what is denied', () => {
  it.each([
    [
      'AdmissionDenied',
      error(422, `cronjobs.batch "a" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'y' denied request: no`),
    ],
    ['AdmissionDenied', error(403, 'admission webhook "w.example.com" denied the request: no')],
    ['AdmissionDenied', error(400, 'admission webhook "w.example.com" denied the request: no')],
    [
      'AdmissionDenied',
      error(422, 'admission webhook "w.example.com" denied the request: no', `${template}.nodeSelector`),
    ],
    [
      'QuotaExceeded',
      error(403, 'cronjobs.batch "a" is forbidden: exceeded quota: q, requested: count/cronjobs.batch=1'),
    ],
  ])('is told as %s, by whatever status and causes', (reason, refusal) => {
    expect(denied(refusal)).toEqual({ reason, message: refusal.message });
  });

  it.each([
    error(403, 'cronjobs.batch is forbidden: User "x" cannot patch resource "cronjobs"'),
    error(422, 'CronJob.batch "a" is invalid: spec.schedule: Invalid value', 'spec.schedule'),
    new Error('denied the request'),
  ])('is nothing else', (refusal) => {
    expect(denied(refusal)).toBeUndefined();
  });
});

describe('what is invalid', () => {
  const runner = { nodeSelector: { disk: 'fast' }, resources: { limits: { cpu: '1' } } };

  it.each([
    ['InvalidSchedule', error(422, 'no', 'spec.schedule'), /^no$/],
    ['InvalidSchedule', error(422, 'no', 'spec.timeZone'), /^no$/],
    [
      'InvalidRunner',
      error(422, 'no', `${template}.containers[0].resources.requests`),
      /for spec\.runner\.resources: no$/,
    ],
    ['InvalidRunner', error(422, 'no', `${template}.nodeSelector`), /for spec\.runner\.nodeSelector: no$/],
    [
      'InvalidRunner',
      error(500, `failed to create typed patch object: .${template}.nodeSelector: expected string`),
      /for spec\.runner\.nodeSelector: /,
    ],
    [
      'InvalidCronJob',
      error(422, 'no', `${template}.tolerations[0].operator`),
      /^The API server refuses the CronJob: no$/,
    ],
    ['InvalidCronJob', error(422, 'no', 'metadata.name'), /: no$/],
    ['InvalidCronJob', error(400, 'no'), /: no$/],
  ])('is blamed by the field: %s', (reason, refusal, words) => {
    expect(invalid(refusal, { runner })).toEqual({ reason, message: expect.stringMatching(words) });
    if (reason === 'InvalidRunner') expect(invalid(refusal, {})!.reason).toBe('InvalidCronJob');
  });

  it.each([error(403, 'no'), error(500, 'no'), error(503, 'no'), error(0, 'no'), new Error('no')])(
    'is not what may pass later',
    (refusal) => expect(invalid(refusal, { runner })).toBeUndefined(),
  );
});
