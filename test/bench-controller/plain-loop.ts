import { desiredObjects } from '../../src/controller/desired.ts';
import { parsePolicy, resources, type StoredPolicy } from '../../src/controller/objects.ts';
import { policyStatus } from '../../src/controller/policy-status.ts';
import { type ApplyConfiguration, Client } from '../../src/kubernetes/client.ts';
import type { Connection } from '../../src/kubernetes/connection.ts';
import type { KubernetesObject, Resource } from '../../src/kubernetes/types.ts';
import { runnerImage } from '../support/controller.ts';

const options = { fieldManager: 'retention-controller', force: true };

/** Makes what the controller makes for these policies, with nothing watched and nothing compared; seconds. */
export async function plainLoop(
  connection: Connection,
  policies: StoredPolicy[],
  concurrency: number,
): Promise<number> {
  const client = new Client(connection);
  const rest = policies.values();
  const started = performance.now();
  const work = async () => {
    for (const policy of rest) await fiveWrites(client, policy);
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return (performance.now() - started) / 1000;
}

async function fiveWrites(client: Client, stored: StoredPolicy): Promise<void> {
  const parsed = parsePolicy(stored);
  if ('problem' in parsed) throw new Error(parsed.problem);
  const { policy } = parsed;
  const { cronJobs, serviceAccount, role, roleBinding } = desiredObjects(policy, { image: runnerImage });
  const apply = <T extends KubernetesObject>(resource: Resource<T>, object: T) =>
    client.apply(resource, object as unknown as ApplyConfiguration<T>, options);
  const cronJob = await apply(resources.cronJobs, cronJobs[0]!);
  await apply(resources.serviceAccounts, serviceAccount);
  await apply(resources.roles, role);
  await apply(resources.roleBindings, roleBinding);
  const status = policyStatus({
    policy,
    generation: policy.generation,
    stored: {},
    cronJobs: [cronJob],
    jobs: [],
    deleting: false,
    stopping: [],
    notStarted: [],
    lastHandledRunRequest: undefined,
    database: undefined,
    now: new Date(),
  });
  const { namespace, name, uid } = stored.metadata;
  await client.apply(
    resources.policies,
    { metadata: { namespace, name, uid }, status } as ApplyConfiguration<StoredPolicy>,
    { ...options, subresource: 'status' },
  );
}
