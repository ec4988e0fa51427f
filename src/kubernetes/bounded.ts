import type { KubernetesObject } from './types.ts';

/** What of an object's metadata a program looks at. The rest, which is often most of it, is dropped as soon as it is read. */
export interface Kept {
  /** Field managers whose applies are looked at in managedFields. */
  manager(name: string): boolean;
  annotation(key: string): boolean;
}

/** What is walked by recursion must end; the deepest of Kubernetes' own, the managedFields of a CronJob, have about 20 levels. */
const maxDepth = 64;
/** Of each part of an object. An API server stores some 1.5 MB in all. */
const maxBytes = 512 * 1024;
/** What any value takes in memory besides its text, more or less. */
const bytesPerValue = 32;

/**
 * The object without those parts that are too deep to be walked by recursion or too large to be kept, which `omitted` names.
 * A part is a field of the object or of its metadata. Changes the object itself, which is what JSON.parse has just made.
 */
export function bounded<T extends KubernetesObject>(object: T, kept?: Kept): T {
  const { metadata } = object;
  const omitted = [
    ...boundManagedFields(metadata, kept),
    ...omitParts(object as object, ''),
    ...omitParts(metadata, 'metadata.'),
  ];
  if (kept && metadata.annotations) {
    const entries = Object.entries(metadata.annotations).filter(([key]) => kept.annotation(key));
    metadata.annotations = Object.fromEntries(entries);
  }
  if (omitted.length > 0) object.omitted = Object.fromEntries(omitted);
  return object;
}

/** Entry by entry: one of another manager's must not hide those that are looked at. It is named even where it is not kept. */
function boundManagedFields(metadata: KubernetesObject['metadata'], kept: Kept | undefined): [string, string][] {
  const reasons: string[] = [];
  if (Array.isArray(metadata.managedFields)) {
    metadata.managedFields = metadata.managedFields.filter((entry) => {
      const why = excess(entry);
      if (why) reasons.push(why);
      return !why && (!kept || (entry.operation === 'Apply' && kept.manager(entry.manager ?? '')));
    });
  }
  return reasons.slice(0, 1).map((why) => ['metadata.managedFields', why]);
}

function omitParts(parts: object, prefix: string): [string, string][] {
  const fields = parts as Record<string, unknown>;
  return Object.keys(fields).flatMap((name): [string, string][] => {
    const why = prefix + name === 'metadata' ? undefined : excess(fields[name]);
    if (!why) return [];
    delete fields[name];
    return [[prefix + name, why]];
  });
}

/** What is too much of a value; level by level, since it may be deeper than the stack. */
function excess(value: unknown): string | undefined {
  let bytes = 0;
  const add = (part: unknown, to: object[]) => {
    bytes += bytesPerValue;
    if (typeof part === 'string') bytes += part.length;
    else if (typeof part === 'object' && part !== null) to.push(part);
  };
  let level: object[] = [];
  add(value, level);
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > maxDepth) return `is nested more than ${maxDepth} deep`;
    const next: object[] = [];
    for (const each of level) {
      for (const name of Object.keys(each)) {
        if (!Array.isArray(each)) bytes += name.length;
        add((each as Record<string, unknown>)[name], next);
      }
    }
    if (bytes > maxBytes) return `takes more than ${maxBytes / 1024} KiB`;
    level = next;
  }
  return bytes > maxBytes ? `takes more than ${maxBytes / 1024} KiB` : undefined;
}
