import { describe, expect, it } from 'vitest';
import { runRequestSchema } from '../../../src/api/run-request.ts';
import { desiredObjects, plannedJobs, requestedJob, templateHash } from '../../../src/controller/desired.ts';
import type { CronJob, Job, Policy } from '../../../src/controller/objects.ts';
import { whyOutdated, whyStopped } from '../../../src/controller/outdated-jobs.ts';
import { image, policyWith } from '../../support/controller-objects.ts';

const podOf = (job: Job | CronJob['spec']) => {
  const template = 'jobTemplate' in job! ? job.jobTemplate.spec!.template : (job as Job).spec!.template;
  return { ...template.metadata, ...template.spec! };
};
const firstPod = (policy: Policy) => podOf(desiredObjects(policy, image).cronJobs[0]!.spec);
const requestIn = (pod: ReturnType<typeof firstPod>) => {
  const value = pod.containers[0]!.env!.find(({ name }) => name === 'RETENTION_POLICY')!.value!;
  return runRequestSchema.parse(JSON.parse(value));
};

describe('the jobs of a policy', () => {
  it('are one, cleanup, with every operation, where it names none', () => {
    expect(plannedJobs(policyWith({ schedule: '17 3 * * *' }))).toEqual([
      {
        name: 'cleanup',
        schedule: '17 3 * * *',
        operations: ['connections', 'instructions', 'sessions', 'acknowledgements'],
      },
    ]);
  });

  it('have their own schedule or the policy’s, operations in the order of a cleanup, and statistics come last', () => {
    const policy = policyWith({
      schedule: '17 3 * * *',
      statistics: { schedule: '0 * * * *' },
      jobs: [
        { name: 'heartbeat', schedule: '*/15 * * * *', operations: ['connections'] },
        { name: 'nightly', operations: ['sessions', 'instructions'] },
      ],
    });
    expect(plannedJobs(policy)).toEqual([
      { name: 'heartbeat', schedule: '*/15 * * * *', operations: ['connections'] },
      { name: 'nightly', schedule: '17 3 * * *', operations: ['instructions', 'sessions'] },
      { name: 'statistics', schedule: '0 * * * *', operations: ['statistics'] },
    ]);
  });
});

describe('what should exist for a policy', () => {
  it('is a CronJob for each job, and an account that may patch the status of this policy, and nothing else', () => {
    const policy = policyWith({ statistics: { schedule: '0 * * * *' } });
    const { cronJobs, role, roleBinding, serviceAccount } = desiredObjects(policy, image);
    expect(cronJobs.map(({ metadata }) => metadata.name)).toEqual(['smartem-cleanup', 'smartem-statistics']);
    expect(role.rules).toEqual([
      {
        apiGroups: ['retention.agentdata.io'],
        resources: ['retentionpolicies/status'],
        resourceNames: ['smartem'],
        verbs: ['patch'],
      },
    ]);
    expect(roleBinding).toMatchObject({
      roleRef: { kind: 'Role', name: 'retention-smartem' },
      subjects: [{ kind: 'ServiceAccount', name: 'retention-smartem', namespace: 'lab' }],
    });
    expect(serviceAccount.automountServiceAccountToken).toBe(false);
    for (const { metadata } of [...cronJobs, role, roleBinding, serviceAccount]) {
      expect(metadata).toMatchObject({
        namespace: 'lab',
        labels: { 'retention.agentdata.io/policy': 'smartem' },
        ownerReferences: [{ kind: 'RetentionPolicy', uid: 'uid-1', controller: true, blockOwnerDeletion: true }],
      });
    }
  });

  it('takes schedule, time zone, suspension, history and deadline from the spec', () => {
    const policy = policyWith({
      schedule: '1 2 * * *',
      timeZone: 'Europe/London',
      suspend: true,
      history: { successfulJobs: 7, failedJobs: 9 },
      limits: { maxDuration: '1h30m' },
    });
    expect(desiredObjects(policy, image).cronJobs[0]!.spec).toMatchObject({
      schedule: '1 2 * * *',
      timeZone: 'Europe/London',
      suspend: true,
      concurrencyPolicy: 'Forbid',
      startingDeadlineSeconds: 600,
      successfulJobsHistoryLimit: 7,
      failedJobsHistoryLimit: 9,
      jobTemplate: { spec: { backoffLimit: 0, podReplacementPolicy: 'Failed', activeDeadlineSeconds: 5400 + 900 } },
    });
  });
});

describe('the Pod of a run', () => {
  it('meets the restricted Pod Security Standard, and names no user', () => {
    const pod = firstPod(policyWith());
    expect(pod.securityContext).toEqual({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(pod.containers[0]!.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(pod).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
  });

  it('is asked for one job of the policy, with the values in force', () => {
    const policy = policyWith({
      preset: 'Development',
      retention: { batchSize: 42 },
      dryRun: true,
      database: { secretRef: { name: 'db' }, tls: { caSecretRef: { name: 'ca' } } },
      jobs: [{ name: 'a', operations: ['sessions'] }],
    });
    expect(requestIn(firstPod(policy))).toMatchObject({
      policy: { namespace: 'lab', name: 'smartem', uid: 'uid-1' },
      job: 'a',
      trigger: 'Schedule',
      operations: ['sessions'],
      retention: { preset: 'Development', completedSessionRetentionDays: 14, batchSize: 42 },
      database: { secretName: 'db', caSecret: { name: 'ca', key: 'ca.crt' } },
      dryRun: true,
    });
  });

  it('knows the values under which runs have last succeeded; these make no Job outdated', () => {
    const policy = policyWith();
    const applied = { instructionRetentionDays: 365, statuses: { instructions: ['completed'] } };
    expect(requestIn(firstPod(policy)).applied).toBeUndefined();
    expect(requestIn(firstPod({ ...policy, applied })).applied).toEqual(applied);
    const [job] = plannedJobs(policy);
    expect(templateHash({ ...policy, applied }, job!, image)).toBe(templateHash(policy, job!, image));
    const made = requestedJob({ ...policy, applied }, job!, 'now', image);
    const wanted = { policy, stalled: false, deleting: false, runner: image };
    expect(whyOutdated(made, wanted)).toBeUndefined();
    expect(whyStopped(made, wanted)).toBeUndefined();
  });

  it('is not another for what other jobs have applied', () => {
    const policy = policyWith({
      statistics: { schedule: '0 * * * *' },
      jobs: [
        { name: 'heartbeat', operations: ['connections'] },
        { name: 'nightly', operations: ['instructions', 'sessions', 'acknowledgements'] },
      ],
    });
    const statuses = { instructions: ['failed'], sessions: ['error'] };
    const nightly = { instructionRetentionDays: 365, completedSessionRetentionDays: 730, statuses };
    const rest = { acknowledgementRetentionDays: 2555 };
    const { cronJobs } = desiredObjects(
      { ...policy, applied: { connectionCleanupHours: 48, ...nightly, ...rest } },
      image,
    );
    expect(cronJobs.map(({ spec }) => requestIn(podOf(spec)).applied)).toEqual([
      { connectionCleanupHours: 48 },
      { ...nightly, ...rest },
      undefined,
    ]);
    const without = desiredObjects({ ...policy, applied: { ...nightly, ...rest } }, image).cronJobs;
    expect(without[0]).toEqual(desiredObjects(policy, image).cronJobs[0]);
    expect(without[1]).toEqual(cronJobs[1]);
    const inOtherOrder = { ...rest, ...nightly, statuses: { sessions: ['error'], instructions: ['failed'] } };
    expect(desiredObjects({ ...policy, applied: inOtherOrder }, image).cronJobs[1]).toEqual(cronJobs[1]);
  });

  it('waits for no volume: every Secret is optional, and the CA’s is there only if the policy names one', () => {
    const secretsOf = (policy: Policy) => firstPod(policy).volumes!.flatMap(({ secret }) => secret ?? []);
    expect(secretsOf(policyWith())).toEqual([{ secretName: 'db', optional: true }]);
    const tls = { caSecretRef: { name: 'ca', key: 'root.pem' } };
    const withCa = policyWith({ database: { secretRef: { name: 'db' }, tls } });
    expect(secretsOf(withCa)).toContainEqual({
      secretName: 'ca',
      optional: true,
      items: [{ key: 'root.pem', path: 'ca.crt' }],
    });
    expect(firstPod(withCa).containers[0]!.volumeMounts).toContainEqual({
      name: 'ca',
      mountPath: '/var/run/secrets/retention/ca',
      readOnly: true,
    });
  });

  it('takes spec.runner over its own, but for the labels that find it', () => {
    const runner = {
      labels: { team: 'em', 'retention.agentdata.io/policy': 'other', 'batch.kubernetes.io/job-name': 'x' },
      annotations: { note: 'x' },
      resources: { limits: { memory: '1Gi' } },
      nodeSelector: { disk: 'ssd' },
      tolerations: [{ operator: 'Exists' }],
      affinity: { nodeAffinity: {} },
      priorityClassName: 'low',
      imagePullSecrets: [{ name: 'pull' }],
      runtimeClassName: 'gvisor',
      securityContext: { runAsUser: 1000, seccompProfile: { type: 'Localhost', localhostProfile: 'p' } },
    };
    const { labels: _, annotations, resources, nodeSelector, tolerations, affinity, ...others } = runner;
    const pod = firstPod(policyWith({ runner }));
    expect(pod).toMatchObject({ annotations, nodeSelector, tolerations, affinity, ...others });
    expect(pod.labels).toMatchObject({ team: 'em', 'retention.agentdata.io/policy': 'smartem' });
    expect(pod.labels).not.toHaveProperty(['batch.kubernetes.io/job-name']);
    expect(pod.containers[0]!.resources).toEqual(resources);
    expect(pod.securityContext).toEqual({ runAsNonRoot: true, ...runner.securityContext });
  });

  it('of a requested run says so, belongs to the policy and is cleaned away after a day', () => {
    const policy = policyWith();
    const job = requestedJob(policy, plannedJobs(policy)[0]!, 'now', image);
    expect(requestIn(podOf(job)).trigger).toBe('Manual');
    expect(job.spec!.ttlSecondsAfterFinished).toBe(86_400);
    expect(job.metadata.ownerReferences).toMatchObject([{ kind: 'RetentionPolicy', uid: 'uid-1' }]);
    expect(job.metadata.labels).toMatchObject({ 'retention.agentdata.io/job': 'cleanup' });
  });
});
