import { expect, it } from 'vitest';
import type { Job } from '../../../src/controller/objects.ts';
import { surplusJobs } from '../../../src/controller/requested-jobs.ts';
import { jobOfRun, policyWith } from '../../support/controller-objects.ts';

const owned = (job: Job, uid = 'uid-1'): Job => {
  const owner = { apiVersion: 'x/v1', kind: 'X', name: 'x', uid, controller: true };
  return { ...job, metadata: { ...job.metadata, ownerReferences: [owner] } };
};
const at = (minute: number) => `2026-03-01T04:0${minute}:00Z`;
const ended = (minute: number, type: 'Complete' | 'Failed', job = 'nightly') =>
  owned(jobOfRun(`${job}-${type}-${minute}`, { job, ended: { type, lastTransitionTime: at(minute) } }));
const policy = policyWith({ history: { successfulJobs: 2, failedJobs: 1 } });
const names = (jobs: Job[]) => surplusJobs(policy, jobs).map(({ metadata }) => metadata.name);

it('of the Jobs that were asked for the newest of each job and result stay, as many as spec.history says', () => {
  const jobs = [
    ended(2, 'Complete'),
    ended(4, 'Complete'),
    ended(1, 'Complete'),
    ended(3, 'Complete'),
    ended(6, 'Failed'),
    ended(7, 'Failed'),
    ended(0, 'Complete', 'heartbeat'),
  ];
  expect(names(jobs)).toEqual(['nightly-Complete-2', 'nightly-Complete-1', 'nightly-Failed-6']);
});

it('Jobs that run, and Jobs of CronJobs and of others, are nobody’s surplus', () => {
  const running = [1, 2, 3].map((n) => owned(jobOfRun(`running-${n}`)));
  const foreign = [1, 2, 3].map((n) => owned(ended(n, 'Complete'), 'uid-of-a-cronjob'));
  expect(names([...running, ...foreign])).toEqual([]);
});
