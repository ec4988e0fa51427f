import { apiVersion, kind, runRequestedAtAnnotation } from '../../src/api/policy.ts';
import type { Condition, RetentionPolicyStatus } from '../../src/api/status.ts';
import { parseStatus, resources, type StoredPolicy } from '../../src/controller/objects.ts';
import type { Client } from '../../src/kubernetes/client.ts';
import { eventually } from './eventually.ts';

type Spec = Record<string, unknown>;

/** A policy as a user writes it; its one job runs at New Year unless `spec` says otherwise. */
export function policyManifest(namespace: string, name: string, spec: Spec = {}) {
  return {
    apiVersion,
    kind,
    metadata: { namespace, name },
    spec: { database: { secretRef: { name: 'db' } }, schedule: '0 0 1 1 *', ...spec },
  };
}

/** What tests do with the policies of one namespace, as their user. */
export class Policies {
  readonly client: Client;
  namespace: string;

  constructor(client: Client, namespace: string) {
    this.client = client;
    this.namespace = namespace;
  }

  /** Applies it with this spec, as a user does: what an earlier one had and this one has not is gone. */
  apply(name: string, spec: Spec = {}, annotations: Record<string, string> = {}): Promise<StoredPolicy> {
    const { metadata, ...manifest } = policyManifest(this.namespace, name, spec);
    const options = { fieldManager: 'user', force: true };
    return this.client.apply(resources.policies, { ...manifest, metadata: { ...metadata, annotations } }, options);
  }

  /** Applies it, and then asks for a run of it as a user does; the value of the request. */
  async ask(name: string, spec: Spec = {}, annotations: Record<string, string> = {}): Promise<string> {
    await this.apply(name, spec);
    const at = new Date().toISOString();
    await this.apply(name, spec, { [runRequestedAtAnnotation]: at, ...annotations });
    return at;
  }

  get(name: string): Promise<StoredPolicy> {
    return this.client.get(resources.policies, { namespace: this.namespace, name });
  }

  delete(name: string): Promise<void> {
    return this.client.delete(resources.policies, { namespace: this.namespace, name });
  }

  /** The policy's status as it is now. */
  async status(name: string): Promise<RetentionPolicyStatus> {
    return parseStatus(await this.get(name));
  }

  /** The policy's status, once it fits. */
  statusOf(
    name: string,
    what: string,
    fits: (status: RetentionPolicyStatus, policy: StoredPolicy) => unknown,
  ): Promise<RetentionPolicyStatus> {
    return eventually(`${name}: ${what}`, async () => {
      const policy = await this.get(name);
      const status = parseStatus(policy);
      return fits(status, policy) ? status : undefined;
    });
  }

  /** The status once the controller has seen the newest generation, and the condition is of this status. */
  settled(name: string, type: Condition['type'], status: Condition['status']): Promise<RetentionPolicyStatus> {
    return this.statusOf(name, `${type} to be ${status}`, (found, policy) => {
      const { observedGeneration, conditions } = found;
      const condition = conditions?.find((candidate) => candidate.type === type);
      return observedGeneration === policy.metadata.generation && condition?.status === status;
    });
  }
}

/** The condition of a status, to be compared. */
export function conditionOf(status: RetentionPolicyStatus, type: Condition['type']): Condition | undefined {
  return status.conditions?.find((condition) => condition.type === type);
}
