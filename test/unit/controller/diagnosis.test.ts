import { describe, expect, it } from 'vitest';
import { whyNoResult, whyNotStarted } from '../../../src/controller/diagnosis.ts';
import type { Pod } from '../../../src/controller/objects.ts';
import { failedCreate, jobOfRun, podWith } from '../../support/controller-objects.ts';

const now = new Date('2026-03-01T03:10:00Z');
const running = jobOfRun('n1');
const failed = jobOfRun('n1', { ended: { type: 'Failed', reason: 'BackoffLimitExceeded', message: 'has failed' } });

const waiting = (reason: string, message?: string) => podWith({ waiting: { reason, message } });
const notStarted = (pod: Pod) => whyNotStarted({ job: running, pods: [pod], events: [] }, now);
const refused = (message: string) => whyNotStarted({ job: running, pods: [], events: [failedCreate(message)] }, now);
const ended = (terminated: object, status = {}) =>
  whyNoResult({ job: failed, pods: [podWith({ terminated }, { status })], events: [] });

describe('a Pod that waits', () => {
  it.each(['ErrImagePull', 'ImagePullBackOff', 'ErrImageNeverPull'])(
    'for its image (%s): the image, and what to check',
    (reason) => {
      expect(notStarted(waiting(reason, 'words of this attempt'))).toBe(
        `The image example.com/retention:1 cannot be pulled: check the controller's flag --image and spec.runner.imagePullSecrets; kubectl describe pod smartem-nightly-1-abcde -n lab says more`,
      );
    },
  );

  it('with a bad image name: the flag', () => {
    expect(notStarted(waiting('InvalidImageName'))).toContain('example.com/retention:1 is not valid');
  });

  it('with a container that cannot be made: the kubelet’s words', () => {
    const words = 'container has runAsNonRoot and image will run as root';
    expect(notStarted(waiting('CreateContainerConfigError', words))).toContain(words);
  });

  it('is no problem while it is created, or runs', () => {
    expect(notStarted(waiting('ContainerCreating'))).toBeUndefined();
    expect(notStarted(podWith({ running: {} }))).toBeUndefined();
  });

  it('for a node is a problem only after two minutes, in which one may be added', () => {
    const since = (lastTransitionTime: string) => {
      const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/3 nodes' };
      return podWith({}, { status: { containerStatuses: [], conditions: [{ ...condition, lastTransitionTime }] } });
    };
    expect(notStarted(since('2026-03-01T03:09:00Z'))).toBeUndefined();
    expect(notStarted(since('2026-03-01T03:05:00Z'))).toContain('check spec.runner.resources, nodeSelector');
    expect(notStarted(since('2026-03-01T03:05:00Z'))).toContain('0/3 nodes');
  });
});

describe('a Job without a Pod', () => {
  it('was refused by Pod Security', () => {
    const message = refused(
      'Error creating: pods "n1-x7" is forbidden: violates PodSecurity "restricted:latest": runAsUser=0',
    );
    expect(message).toContain('check spec.runner.securityContext');
    expect(message).toContain('runAsUser=0');
    expect(message).not.toContain('n1-x7');
  });

  it('was refused by a quota', () => {
    expect(refused('Error creating: pods "n1-x7" is forbidden: exceeded quota: small, requested: pods=1')).toContain(
      'refused by a ResourceQuota: raise the quota, or set spec.runner.resources to fit it (exceeded quota: small',
    );
  });

  it('lacks its service account', () => {
    const words =
      'Error creating: pods "n1-x" is forbidden: error looking up service account lab/retention-smartem: not found';
    expect(refused(words)).toContain('service account is missing');
  });

  it('was refused by something else, in its words; the newest count', () => {
    const events = [
      failedCreate('Error creating: webhook "b" denied', '2026-03-01T03:00:09Z'),
      failedCreate('Error creating: webhook "a" denied', '2026-03-01T03:00:01Z'),
    ];
    expect(whyNotStarted({ job: running, pods: [], events }, now)).toBe(
      `No Pod could be made for Job n1: webhook "b" denied`,
    );
  });

  it('is no problem without such an Event', () => {
    expect(whyNotStarted({ job: running, pods: [], events: [] }, now)).toBeUndefined();
  });
});

describe('a run that ended without a result', () => {
  it('was out of memory: the limit, and what to change', () => {
    expect(ended({ exitCode: 137, reason: 'OOMKilled' })).toBe(
      'The runner was killed because it used up its limit of 256Mi: raise spec.runner.resources.limits.memory, or lower spec.retention.batchSize',
    );
  });

  it('was killed', () => {
    expect(ended({ exitCode: 137, reason: 'Error' })).toContain('killed (SIGKILL)');
    expect(ended({ exitCode: 143, reason: 'Error' })).toContain('killed (SIGTERM)');
    expect(ended({ exitCode: 139, reason: 'Error' })).toContain('killed (signal 11)');
  });

  it('refused its configuration: the last line of its log', () => {
    const log = '{"level":"info","msg":"run starts"}\n{"level":"error","msg":"Secret db has no key uri"}\n';
    expect(ended({ exitCode: 2, message: log })).toBe('The runner refused its configuration: Secret db has no key uri');
    expect(ended({ exitCode: 2, message: 'plain words' })).toContain('plain words');
  });

  it('ended with another exit code', () => {
    expect(ended({ exitCode: 1 })).toBe(
      'The runner ended with exit code 1 and left no result: see the log of Pod smartem-nightly-1-abcde',
    );
  });

  it('was evicted', () => {
    const status = { reason: 'Evicted', message: 'The node was low on resource: memory.' };
    expect(ended({ exitCode: 137 }, status)).toContain('evicted from its node: set spec.runner.resources.requests');
  });

  it('failed before its container ran', () => {
    const status = { reason: 'UnexpectedAdmissionError', message: 'no', containerStatuses: [] };
    const pods = [podWith({}, { status })];
    expect(whyNoResult({ job: failed, pods, events: [] })).toContain('UnexpectedAdmissionError: no');
  });

  it('passed its deadline', () => {
    const job = jobOfRun('n1', { ended: { type: 'Failed', reason: 'DeadlineExceeded' } });
    expect(whyNoResult({ job, pods: [], events: [] })).toContain('killed 4500 s after its start');
  });

  it('never had a Pod', () => {
    const events = [failedCreate('Error creating: pods "x" is forbidden: exceeded quota: q')];
    expect(whyNoResult({ job: failed, pods: [], events })).toContain('ResourceQuota');
    expect(whyNoResult({ job: failed, pods: [], events: [] })).toContain('is gone and left no result: has failed');
  });
});
