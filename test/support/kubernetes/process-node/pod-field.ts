import type { V1Pod } from '@kubernetes/client-node';

/** A field of the Pod, named as the downward API does. */
export function podField(pod: V1Pod, fieldPath: string): string {
  const { metadata, spec } = pod;
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(fieldPath);
  if (keyed) return metadata?.[keyed[1] as 'labels' | 'annotations']?.[keyed[2]!] ?? '';
  const fields: Record<string, string | undefined> = {
    'metadata.name': metadata?.name,
    'metadata.namespace': metadata?.namespace,
    'metadata.uid': metadata?.uid,
    'spec.nodeName': spec?.nodeName,
    'spec.serviceAccountName': spec?.serviceAccountName,
    'status.hostIP': '127.0.0.1',
    'status.podIP': '127.0.0.1',
  };
  const value = fields[fieldPath];
  if (value === undefined) throw new Error(`fieldPath ${fieldPath} is not supported by the process node`);
  return value;
}
