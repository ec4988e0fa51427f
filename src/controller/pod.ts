import type { V1PodTemplateSpec } from '@kubernetes/client-node';
import { effectiveRetention } from '../api/effective.ts';
import { jobLabel, policyLabel } from '../api/policy.ts';
import { type RunRequest, runnerEnvironment, runnerPaths } from '../api/run-request.ts';
import type { Json, KubernetesObject } from '../kubernetes/types.ts';
import type { Allowed } from './allowed.ts';
import { appliedBy } from './applied.ts';
import { runAccountName } from './names.ts';
import type { Policy } from './objects.ts';

/** One job of a policy: one CronJob. */
export interface PlannedJob {
  name: string;
  schedule: string;
  operations: RunRequest['operations'];
}

/** What runner Pods run; from the controller's own flags, never from a policy. */
export interface RunnerImage {
  image: string;
  imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  /** What policies may set; nothing without it. */
  allowed?: Allowed;
}

export type PodTemplate = Json<V1PodTemplateSpec>;
type PodSpec = NonNullable<PodTemplate['spec']>;

export const containerName = 'runner';
/** The runner ends itself within 10 s of a SIGTERM; the rest is room for its report. */
const terminationGracePeriodSeconds = 30;
const defaultResources = { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '256Mi' } };
/** Keys that the Job controller sets itself: with one of them in its template a Job is refused. */
const jobControllerLabels = /^((batch\.kubernetes\.io\/)?(controller-uid|job-name))$/;

export const managedByLabel = 'app.kubernetes.io/managed-by';
export const managedBy = 'retention-controller';

/** Labels of what is made for a policy, or for one of its jobs. */
export function ownLabels(policy: Policy, job?: string): Record<string, string> {
  return {
    'app.kubernetes.io/name': 'retention-operator',
    [managedByLabel]: managedBy,
    [policyLabel]: policy.name,
    ...(job === undefined ? {} : { [jobLabel]: job }),
  };
}

/** The job of the policy that an object was made for. */
export function jobOf(object: KubernetesObject): string | undefined {
  return object.metadata.labels?.[jobLabel];
}

/** What a run is asked to do: the runner needs nothing else of the policy. */
export function runRequest(policy: Policy, job: PlannedJob, trigger: RunRequest['trigger']): RunRequest {
  const { spec } = policy;
  const { tls, secretRef, schema, timestampTimeZone } = spec.database;
  return {
    policy: { namespace: policy.namespace, name: policy.name, uid: policy.uid },
    job: job.name,
    trigger,
    operations: job.operations,
    retention: effectiveRetention(spec),
    applied: appliedBy(job.operations, policy.applied),
    database: {
      secretName: secretRef.name,
      schema,
      timestampTimeZone,
      tlsMode: tls?.mode,
      caSecret: tls?.caSecretRef,
    },
    dryRun: spec.dryRun,
    guard: spec.guard,
    limits: spec.limits,
  };
}

/**
 * The Pod of a run. It meets the restricted Pod Security Standard and sets no user: the image's own numeric USER
 * counts, or the one that OpenShift assigns. `spec.runner` is laid over it, as far as it is allowed, but cannot change
 * what runs.
 */
export function podTemplate(
  policy: Policy,
  job: PlannedJob,
  trigger: RunRequest['trigger'],
  { image, imagePullPolicy }: RunnerImage,
): PodTemplate {
  const { runner = {} } = policy.spec;
  const userLabels = Object.entries(runner.labels ?? {}).filter(([key]) => !jobControllerLabels.test(key));
  return {
    metadata: {
      labels: { ...Object.fromEntries(userLabels), ...ownLabels(policy, job.name) },
      ...(runner.annotations && { annotations: runner.annotations }),
    },
    spec: {
      restartPolicy: 'Never',
      serviceAccountName: runAccountName(policy.name),
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds,
      securityContext: {
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
        ...runner.securityContext,
      },
      ...(runner.nodeSelector && { nodeSelector: runner.nodeSelector }),
      ...(runner.tolerations && { tolerations: runner.tolerations }),
      ...(runner.affinity && { affinity: runner.affinity as PodSpec['affinity'] }),
      ...(runner.priorityClassName && { priorityClassName: runner.priorityClassName }),
      ...(runner.imagePullSecrets?.length ? { imagePullSecrets: runner.imagePullSecrets } : {}),
      ...(runner.runtimeClassName && { runtimeClassName: runner.runtimeClassName }),
      containers: [
        {
          name: containerName,
          image,
          ...(imagePullPolicy && { imagePullPolicy }),
          args: ['run'],
          env: environment(policy, runRequest(policy, job, trigger)),
          resources: (runner.resources ?? defaultResources) as PodSpec['containers'][number]['resources'],
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          terminationMessagePath: runnerPaths.terminationLog,
          // A runner that could not even write its result leaves the end of its log.
          terminationMessagePolicy: 'FallbackToLogsOnError',
          volumeMounts: volumes(policy).map(({ name, mountPath }) => ({ name, mountPath, readOnly: true })),
        },
      ],
      volumes: volumes(policy).map(({ mountPath: _, ...volume }) => volume),
    },
  };
}

function environment(policy: Policy, request: RunRequest): PodSpec['containers'][number]['env'] {
  const { tls } = policy.spec.database;
  return [
    { name: runnerEnvironment.request, value: literal(JSON.stringify(request)) },
    {
      name: runnerEnvironment.runId,
      valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: "metadata.labels['batch.kubernetes.io/job-name']" } },
    },
    { name: runnerEnvironment.databaseDirectory, value: runnerPaths.databaseDirectory },
    ...(tls?.caSecretRef ? [{ name: runnerEnvironment.caDirectory, value: runnerPaths.caDirectory }] : []),
    { name: runnerEnvironment.serviceAccountDirectory, value: runnerPaths.serviceAccountDirectory },
    { name: runnerEnvironment.terminationLog, value: runnerPaths.terminationLog },
  ];
}

/** JSON that a kubelet leaves alone: it would make one dollar sign of two, and expand $(NAME). */
function literal(json: string): string {
  return json.replaceAll('$', '\\u0024');
}

type Mounted = NonNullable<PodSpec['volumes']>[number] & { mountPath: string };

/** Every source but the token is optional: a Pod that waits for a volume says nothing, the runner names what is missing. */
function volumes(policy: Policy): Mounted[] {
  const { secretRef, tls } = policy.spec.database;
  const mounted: Mounted[] = [
    {
      name: 'database',
      secret: { secretName: secretRef.name, optional: true },
      mountPath: runnerPaths.databaseDirectory,
    },
    {
      name: 'serviceaccount',
      projected: {
        sources: [
          { serviceAccountToken: { path: 'token', expirationSeconds: 3600 } },
          { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }], optional: true } },
          {
            downwardAPI: {
              items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
            },
          },
        ],
      },
      mountPath: runnerPaths.serviceAccountDirectory,
    },
  ];
  if (tls?.caSecretRef) {
    const { name, key } = tls.caSecretRef;
    mounted.push({
      name: 'ca',
      secret: { secretName: name, optional: true, items: [{ key, path: 'ca.crt' }] },
      mountPath: runnerPaths.caDirectory,
    });
  }
  return mounted;
}
