type Fields = Record<string, unknown>;

/**
 * `next`, of which each part that equals the same part of `previous` is replaced by that one, so that what two objects
 * have in common is in memory once; `previous` itself where all is equal. Both are JSON. Most of what is kept of a
 * kind of object is the same in all of them: managedFields, Pod templates, defaults.
 */
export function share<T>(previous: unknown, next: T): T {
  // Equal texts too: the older one stays.
  if (previous === next) return previous as T;
  if (!isTree(previous) || !isTree(next) || Array.isArray(previous) !== Array.isArray(next)) return next;
  const fields: Fields = next;
  const names = Object.keys(fields);
  let equal = names.length === Object.keys(previous).length;
  for (const name of names) {
    const before = Object.hasOwn(previous, name) ? previous[name] : undefined;
    const part = share(before, fields[name]);
    equal &&= part === before;
    // In place: an equal part takes the place of what may be shared already.
    fields[name] = part;
  }
  return equal ? (previous as T) : next;
}

function isTree(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}
