import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type {
  CoreV1Api,
  V1KeyToPath,
  V1Pod,
  V1ServiceAccountTokenProjection,
  V1Volume,
  V1VolumeProjection,
} from '@kubernetes/client-node';
import type { Mount } from './environment.ts';
import { errorMessage, hasStatus } from './errors.ts';
import { podField } from './pod-field.ts';

/** The content of a volume: relative path → bytes. */
type Files = Map<string, Buffer>;

/**
 * Fills a folder for every volume of the Pod below `folder`, and tells what the container's mounts stand for. Throws a
 * kubelet's message where a volume can't be made; called again, it starts afresh.
 */
export async function mountVolumes(pod: V1Pod, folder: string, core: CoreV1Api): Promise<Mount[]> {
  for (const volume of pod.spec!.volumes ?? []) {
    const target = join(folder, volume.name);
    try {
      const files = await volumeFiles(pod, volume, core);
      await rm(target, { recursive: true, force: true });
      await mkdir(target, { recursive: true });
      for (const [path, content] of files) {
        await mkdir(dirname(join(target, path)), { recursive: true });
        await writeFile(join(target, path), content);
      }
    } catch (error) {
      const reason = errorMessage(error);
      throw new Error(`MountVolume.SetUp failed for volume "${volume.name}" : ${reason}`, { cause: error });
    }
  }
  return (pod.spec!.containers[0]!.volumeMounts ?? []).map(({ mountPath, name, subPath = '' }) => ({
    mountPath,
    path: join(folder, name, subPath),
  }));
}

async function volumeFiles(pod: V1Pod, volume: V1Volume, core: CoreV1Api): Promise<Files> {
  const { secret, configMap, projected, downwardAPI, emptyDir } = volume;
  if (secret) return secretFiles(pod, { ...secret, name: secret.secretName }, core);
  if (configMap) return configMapFiles(pod, configMap, core);
  if (downwardAPI) return projectionFiles(pod, { downwardAPI }, core);
  if (emptyDir) return new Map();
  if (!projected) throw new Error('the process node has no volumes of this type');
  const sources = await Promise.all((projected.sources ?? []).map((source) => projectionFiles(pod, source, core)));
  return new Map(sources.flatMap((files) => [...files]));
}

async function projectionFiles(pod: V1Pod, source: V1VolumeProjection, core: CoreV1Api): Promise<Files> {
  const { secret, configMap, serviceAccountToken, downwardAPI } = source;
  if (secret) return secretFiles(pod, secret, core);
  if (configMap) return configMapFiles(pod, configMap, core);
  if (serviceAccountToken) return tokenFiles(pod, serviceAccountToken, core);
  if (!downwardAPI) throw new Error('the process node has no projections of this type');
  return new Map(
    (downwardAPI.items ?? []).map(({ path, fieldRef }) => [
      path,
      Buffer.from(podField(pod, fieldRef?.fieldPath ?? '')),
    ]),
  );
}

interface Reference {
  name?: string;
  items?: V1KeyToPath[];
  optional?: boolean;
}

async function secretFiles(pod: V1Pod, reference: Reference, core: CoreV1Api): Promise<Files> {
  const target = { name: reference.name ?? '', namespace: pod.metadata!.namespace! };
  const secret = await unlessMissing(core.readNamespacedSecret(target));
  if (!secret && !reference.optional) throw new Error(`secret "${target.name}" not found`);
  const data = Object.entries(secret?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')] as const);
  return selectItems(new Map(data), reference, 'secret');
}

async function configMapFiles(pod: V1Pod, reference: Reference, core: CoreV1Api): Promise<Files> {
  const target = { name: reference.name ?? '', namespace: pod.metadata!.namespace! };
  const configMap = await unlessMissing(core.readNamespacedConfigMap(target));
  if (!configMap && !reference.optional) throw new Error(`configmap "${target.name}" not found`);
  const data = Object.entries(configMap?.data ?? {}).map(([key, value]) => [key, Buffer.from(value)] as const);
  return selectItems(new Map(data), reference, 'config');
}

/** A token of the Pod's service account that is valid as long as the Pod exists. */
async function tokenFiles(pod: V1Pod, source: V1ServiceAccountTokenProjection, core: CoreV1Api): Promise<Files> {
  const { name, namespace, uid } = pod.metadata!;
  const request = core.createNamespacedServiceAccountToken({
    name: pod.spec!.serviceAccountName ?? 'default',
    namespace: namespace!,
    body: {
      spec: {
        audiences: source.audience ? [source.audience] : [],
        expirationSeconds: source.expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
      },
    },
  });
  const { status } = await request.catch((error: unknown) => {
    throw new Error(`failed to fetch token: ${errorMessage(error)}`, { cause: error });
  });
  return new Map([[source.path, Buffer.from(status!.token!)]]);
}

/** Without `items` every key is a file; a key that is missing is an error unless the volume is optional. */
function selectItems(data: Files, { items, optional }: Reference, kind: string): Files {
  if (!items) return data;
  const missing = items.find(({ key }) => !data.has(key));
  if (missing && !optional) throw new Error(`references non-existent ${kind} key: ${missing.key}`);
  return new Map(items.filter(({ key }) => data.has(key)).map(({ key, path }) => [path, data.get(key)!] as const));
}

async function unlessMissing<T>(request: Promise<T>): Promise<T | undefined> {
  return request.catch((error: unknown) => {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  });
}
