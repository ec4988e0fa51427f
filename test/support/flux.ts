import type { Cluster } from './kubernetes/cluster.ts';
import { strictly } from './kubernetes/kubectl.ts';

interface ManagedFields {
  manager: string;
  operation: string;
  subresource?: string;
  fieldsV1: Fields;
}
interface Live {
  metadata: { managedFields: ManagedFields[] };
}
interface Fields {
  [key: string]: Fields;
}

const flux = 'kustomize-controller';

/**
 * What Flux's kustomize-controller does with an object at each reconcile (fluxcd/pkg, ssa/patch.go): fields of managers whose
 * name begins like one of kubectl's become its own, and its forced server-side apply then takes away what git does not have.
 */
export async function reconcileAsFlux(
  cluster: Cluster,
  object: { kind: string; metadata: { namespace: string; name: string } },
): Promise<void> {
  const kubectl = strictly(cluster.kubectl);
  const which = [object.kind, object.metadata.name, '-n', object.metadata.namespace];
  const found = await kubectl(['get', ...which, '--ignore-not-found', '--show-managed-fields', '-o', 'json']);
  const all = found === '' ? [] : (JSON.parse(found) as Live).metadata.managedFields;
  const taken = all.filter(
    ({ manager, operation, subresource }) =>
      subresource === undefined && (manager.startsWith('kubectl') || (manager === flux && operation === 'Apply')),
  );
  const [first] = taken;
  if (first) {
    const fieldsV1 = taken.map((entry) => entry.fieldsV1).reduce(union);
    const own = { ...first, manager: flux, operation: 'Apply', fieldsV1 };
    const value = [...all.filter((entry) => !taken.includes(entry)), own];
    const patch = JSON.stringify([{ op: 'replace', path: '/metadata/managedFields', value }]);
    await kubectl(['patch', ...which, '--type=json', `--field-manager=${flux}`, '-p', patch]);
  }
  const apply = ['apply', '--server-side', '--force-conflicts', `--field-manager=${flux}`, '-f', '-'];
  await kubectl(apply, JSON.stringify(object));
}

function union(one: Fields, other: Fields): Fields {
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  return Object.fromEntries([...keys].map((key) => [key, union(one[key] ?? {}, other[key] ?? {})]));
}
