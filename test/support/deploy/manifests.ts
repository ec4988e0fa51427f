import { parseAllDocuments } from 'yaml';
import { z } from 'zod';

const manifestSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
});
export type Manifest = z.output<typeof manifestSchema>;

/** The objects of a file or of what helm and kustomize print; YAML with an error, such as a key written twice, is refused. */
export function manifests(text: string): Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    if (document.errors[0]) throw document.errors[0];
    const value: unknown = document.toJS();
    return value === null || value === undefined ? [] : [manifestSchema.parse(value)];
  });
}

/** `Kind namespace/name`, as tests tell objects apart. */
export function nameOf({ kind, metadata: { namespace, name } }: Manifest): string {
  return `${kind} ${namespace ? `${namespace}/` : ''}${name}`;
}

export function namesOf(text: string): string[] {
  return manifests(text).map(nameOf);
}
