import type { CoreV1Api, V1EnvVar, V1Pod } from '@kubernetes/client-node';
import { hasStatus } from './errors.ts';
import { podField } from './pod-field.ts';

/** A path in the container, and the folder or file of this machine that stands for it. */
export interface Mount {
  mountPath: string;
  path: string;
}

/**
 * The environment of the Pod's container as its spec asks for, over `base`. As there is no mount namespace, a value that
 * is a mounted path, or begins with one, names the path that stands for it. Throws a kubelet's message where something
 * is missing.
 */
export async function containerEnvironment(
  pod: V1Pod,
  base: Record<string, string>,
  mounts: Mount[],
  core: CoreV1Api,
): Promise<Record<string, string>> {
  const container = pod.spec!.containers[0]!;
  if (container.envFrom) throw new Error('envFrom is not supported by the process node');
  const env = { ...base };
  for (const variable of container.env ?? []) {
    const value = variable.valueFrom ? await valueFrom(pod, variable, core) : expand(variable.value ?? '', env);
    if (value !== undefined) env[variable.name] = rewritePath(value, mounts);
  }
  return env;
}

/** `$(NAME)` becomes the value of a variable that is known, `$$` a dollar sign, as in Kubernetes. */
export function expand(text: string, env: Record<string, string>): string {
  return text.replace(/\$(?:\$|\(([^)]+)\))/g, (match, name?: string) => (name ? (env[name] ?? match) : '$'));
}

/** The longest mounted path wins. */
function rewritePath(value: string, mounts: Mount[]): string {
  const mount = mounts
    .filter(({ mountPath }) => value === mountPath || value.startsWith(`${mountPath}/`))
    .sort((a, b) => b.mountPath.length - a.mountPath.length)[0];
  return mount ? mount.path + value.slice(mount.mountPath.length) : value;
}

async function valueFrom(pod: V1Pod, variable: V1EnvVar, core: CoreV1Api): Promise<string | undefined> {
  const { fieldRef, secretKeyRef } = variable.valueFrom!;
  if (fieldRef) return podField(pod, fieldRef.fieldPath);
  if (!secretKeyRef) throw new Error(`valueFrom of env ${variable.name} is not supported by the process node`);

  const { name = '', key, optional } = secretKeyRef;
  const namespace = pod.metadata!.namespace!;
  const secret = await core.readNamespacedSecret({ name, namespace }).catch((error: unknown) => {
    if (!hasStatus(error, 404)) throw error;
  });
  const value = secret?.data?.[key];
  if (value !== undefined) return Buffer.from(value, 'base64').toString();
  if (optional) return undefined;
  throw new Error(secret ? `couldn't find key ${key} in Secret ${namespace}/${name}` : `secret "${name}" not found`);
}
