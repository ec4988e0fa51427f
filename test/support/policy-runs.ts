import type { V1Job, V1Pod } from '@kubernetes/client-node';
import { jobLabel, policyLabel } from '../../src/api/policy.ts';
import type { RunResult } from '../../src/api/run-result.ts';
import type { RetentionPolicyStatus } from '../../src/api/status.ts';
import { adminClient } from './controller.ts';
import { eventually } from './eventually.ts';
import type { Cluster } from './kubernetes/cluster.ts';
import { strictly } from './kubernetes/kubectl.ts';
import { Policies, policyManifest } from './policies.ts';

/** On every namespace in which policies run for real, so that what an interrupted test leaves can be found. */
export const testLabel = 'retention.agentdata.io/test';

/** Namespaces with these labels take, without a warning, only Pods of the restricted standard. */
export const restricted = {
  [testLabel]: 'true',
  ...Object.fromEntries(
    ['enforce', 'audit', 'warn'].map((mode) => [`pod-security.kubernetes.io/${mode}`, 'restricted']),
  ),
};

/** A run, and the policy's status once the controller has taken it in. */
interface EndedRun {
  run: RunResult;
  status: RetentionPolicyStatus;
}

/** One namespace in which policies run for real, whoever the controller and the node are. All of it goes through kubectl. */
export class PolicyRuns {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly policies: Policies;

  constructor(cluster: Cluster, namespace: string) {
    this.cluster = cluster;
    this.namespace = namespace;
    this.policies = new Policies(adminClient(cluster), namespace);
  }

  /** kubectl in the namespace; a failure is an error with its words. */
  async kubectl(args: string[], input?: string): Promise<string> {
    return strictly(this.cluster.kubectl)(['-n', this.namespace, ...args], input);
  }

  async applySecret(name: string, stringData: Record<string, string> | object): Promise<void> {
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData };
    await this.kubectl(['apply', '-f', '-'], JSON.stringify(secret));
  }

  /** Applies a policy that finds its database in the Secret `<name>-db`, and waits until its CronJobs are in place. */
  async applyPolicy(name: string, { database = {}, ...spec }: Record<string, unknown> = {}): Promise<void> {
    const withDatabase = { ...spec, database: { secretRef: { name: `${name}-db` }, ...(database as object) } };
    const manifest = policyManifest(this.namespace, name, withDatabase);
    await this.kubectl(['apply', '-f', '-'], JSON.stringify(manifest));
    await this.policies.settled(name, 'Ready', 'True');
  }

  /** Changes the policy's spec by a merge patch, and waits until the CronJobs follow. */
  async patchSpec(name: string, spec: object): Promise<void> {
    await this.kubectl(['patch', 'retentionpolicy', name, '--type=merge', '-p', JSON.stringify({ spec })]);
    await this.policies.settled(name, 'Ready', 'True');
  }

  /** Asks for a run by annotation, once no other of this job is active; the Job that was made for it. */
  async request(name: string, job = 'cleanup'): Promise<V1Job> {
    await this.policies.statusOf(name, `no active run of ${job}`, ({ jobs }) => entryOf({ jobs }, job)?.active === 0);
    const before = new Set((await this.jobs(name, job)).map((found) => found.metadata!.uid));
    const at = new Date().toISOString();
    const annotations = { 'retention.agentdata.io/run-job': job, 'retention.agentdata.io/run-requested-at': at };
    const pairs = Object.entries(annotations).map(([key, value]) => `${key}=${value}`);
    await this.kubectl(['annotate', '--overwrite', 'retentionpolicy', name, ...pairs]);
    await this.policies.statusOf(name, 'the request is handled', (status) => status.lastHandledRunRequest === at);
    return eventually(`a Job for the run of ${job} that was asked for`, async () =>
      (await this.jobs(name, job)).find((found) => !before.has(found.metadata!.uid)),
    );
  }

  /** Runs a job of the policy now, and waits for its end in the status. */
  async runNow(name: string, job = 'cleanup', options: { seconds?: number } = {}): Promise<EndedRun> {
    const { metadata } = await this.request(name, job);
    return this.result(name, metadata!.name!, options);
  }

  /** What became of the run of this Job: as the run itself, or the controller for it, has reported. */
  async result(name: string, id: string, { seconds = 75 }: { seconds?: number } = {}): Promise<EndedRun> {
    const what = `the run ${id} of ${name} in the status, history included`;
    return eventually(
      what,
      async () => {
        const status = (await this.policies.get(name)).status as RetentionPolicyStatus;
        const run = status.jobs?.find((entry) => entry.lastRun?.id === id)?.lastRun;
        const known = status.runs?.some((entry) => entry.id === id && entry.result === run?.result);
        return run && known ? { run, status } : undefined;
      },
      { seconds },
    );
  }

  async jobs(name: string, job = 'cleanup'): Promise<V1Job[]> {
    const labelSelector = `${policyLabel}=${name},${jobLabel}=${job}`;
    return (await this.cluster.batch.listNamespacedJob({ namespace: this.namespace, labelSelector })).items;
  }

  async pods(id: string): Promise<V1Pod[]> {
    const labelSelector = `batch.kubernetes.io/job-name=${id}`;
    return (await this.cluster.core.listNamespacedPod({ namespace: this.namespace, labelSelector })).items;
  }

  /** The name of the Job's Pod that runs. */
  async runningPod(id: string): Promise<string> {
    return eventually(`a running Pod of Job ${id}`, async () => {
      const running = (await this.pods(id)).find((pod) => pod.status?.phase === 'Running');
      return running?.metadata?.name;
    });
  }

  /** The exit code of the one Pod that the Job has had. */
  async exitCode(id: string): Promise<number> {
    return eventually(`the Pod of Job ${id} to have ended`, async () => {
      const [pod] = await this.pods(id);
      return pod?.status?.containerStatuses?.[0]?.state?.terminated?.exitCode;
    });
  }

  /** Waits for an Event about the policy. */
  async event(name: string, reason: string, words: RegExp): Promise<void> {
    await eventually(`an Event ${reason} of ${name} that says ${words}`, async () => {
      const fieldSelector = `involvedObject.name=${name},involvedObject.kind=RetentionPolicy`;
      const { items } = await this.cluster.core.listNamespacedEvent({ namespace: this.namespace, fieldSelector });
      return items.some((event) => event.reason === reason && words.test(event.message ?? ''));
    });
  }

  /** What `kubectl get retentionpolicy -o wide` shows of a policy, by column. */
  async columns(name: string): Promise<Record<string, string>> {
    return parseTable(await this.kubectl(['get', 'retentionpolicy', name, '-o', 'wide']));
  }
}

/** The entry of one job in a status. */
export function entryOf({ jobs }: Pick<RetentionPolicyStatus, 'jobs'>, job = 'cleanup') {
  return jobs?.find((entry) => entry.name === job);
}

/** A table of kubectl's with one row: header → text. Columns are as wide as their longest text, and three spaces apart. */
function parseTable(text: string): Record<string, string> {
  const [header = '', row = ''] = text.split('\n');
  const starts = [...header.matchAll(/\S+( \S+)*/g)].map((match) => ({ name: match[0], at: match.index }));
  return Object.fromEntries(
    starts.map(({ name, at }, index) => [name, row.slice(at, starts[index + 1]?.at).trim()] as const),
  );
}
