import { sameQuantity } from './quantity.ts';
import type { KubernetesObject } from './types.ts';

type Fields = Record<string, unknown>;

/**
 * Would a server-side apply of `desired` by `fieldManager` change `live`? Decided by what the API server recorded in
 * managedFields at this manager's last apply: a field with another value, one not stated before and one no longer
 * stated are changes; fields that only others own are not. The record also tells lists merged by key from atomic
 * ones, in custom resources too.
 */
export function applyWouldChange(
  desired: object,
  live: KubernetesObject,
  { fieldManager, subresource }: { fieldManager: string; subresource?: 'status' },
): boolean {
  const part = managedPart(desired as Partial<KubernetesObject>, subresource);
  const entry = live.metadata.managedFields?.find(
    (candidate) =>
      candidate.operation === 'Apply' && candidate.manager === fieldManager && candidate.subresource === subresource,
  );
  return entry?.fieldsV1 ? differs(part, live, entry.fieldsV1 as Fields, false) : stated(part).length > 0;
}

/** What an apply can own: not the object's identity, and either the status or all but the status. */
function managedPart(object: Partial<KubernetesObject> & { status?: unknown }, subresource?: 'status'): Fields {
  const { apiVersion, kind, metadata, status, ...rest } = object;
  if (subresource === 'status') return { status };
  const { labels, annotations, ownerReferences, finalizers } = metadata ?? {};
  const owned = { labels, annotations, ownerReferences, finalizers };
  return stated(owned).length > 0 ? { ...rest, metadata: owned } : rest;
}

/** `owned` is a FieldsV1: `f:` names a field, `k:` a list item by its keys, `v:` one by its value, `.` the thing itself. */
function differs(desired: unknown, live: unknown, owned: Fields, isQuantity: boolean): boolean {
  const paths = Object.keys(owned).filter((path) => path !== '.');
  if (paths.length === 0) return desired === undefined || !contains(live, desired, isQuantity);
  if (!paths.every((path) => path.startsWith('f:'))) return listDiffers(asList(desired), asList(live), owned, paths);
  const [wanted, found] = [asFields(desired), asFields(live)];
  const names = paths.map((path) => path.slice('f:'.length));
  return (
    stated(wanted).some((name) => !names.includes(name) && !isUnrecordable(wanted[name], found[name])) ||
    names.some((name) =>
      differs(wanted[name], found[name], owned[`f:${name}`] as Fields, isQuantity || holdsQuantities(name)),
    )
  );
}

/** A list merged by key is recorded by its items: of an empty one there is no record, and nothing to apply. */
function isUnrecordable(desired: unknown, live: unknown): boolean {
  return Array.isArray(desired) && desired.length === 0 && contains(live, desired, false);
}

/** The items of a list merged by key, or of a set, that this manager owns. */
function listDiffers(desired: unknown[], live: unknown[], owned: Fields, paths: string[]): boolean {
  if (desired.length !== paths.length) return true;
  return paths.some((path) => {
    const identity: unknown = JSON.parse(path.slice('k:'.length));
    if (path.startsWith('v:')) return !desired.includes(identity) || !live.includes(identity);
    const item = findItem(desired, identity as Fields);
    return item === undefined || differs(item, findItem(live, identity as Fields), owned[path] as Fields, false);
  });
}

/** A key the item does not state has its default, such as a port's protocol. */
function findItem(items: unknown[], keys: Fields): unknown {
  const matches = (item: unknown, lenient: boolean) =>
    Object.entries(keys).every(([key, value]) => {
      const own = asFields(item)[key];
      return own === value || (lenient && own === undefined);
    });
  return items.find((item) => matches(item, false)) ?? items.find((item) => matches(item, true));
}

/**
 * Is every field of `desired` in `live` with the same value? Maps may hold more; lists are the same length and in
 * the same order; quantities below `limits`, `requests` and `sizeLimit` are compared by value; null, and what is
 * empty or zero where `live` has nothing, count as absent.
 */
function contains(live: unknown, desired: unknown, isQuantity: boolean): boolean {
  if (desired === undefined || desired === live) return true;
  if (live === undefined || live === null) return isEmpty(desired);
  if (desired === null) return isEmpty(live);
  if (Array.isArray(desired)) {
    if (!Array.isArray(live) || desired.length !== live.length) return false;
    return desired.every((item, index) => contains(live[index], item, isQuantity));
  }
  if (typeof desired === 'object') {
    if (typeof live !== 'object' || Array.isArray(live)) return false;
    return Object.entries(desired).every(([name, value]) =>
      contains((live as Fields)[name], value, isQuantity || holdsQuantities(name)),
    );
  }
  return isQuantity && sameQuantity(desired, live);
}

/** Null, empty or zero, all the way down: what the API server leaves out of what it stores. */
function isEmpty(value: unknown): boolean {
  if (!value) return true;
  return (
    typeof value === 'object' && Object.values(value).every(isEmpty) && !(Array.isArray(value) && value.length > 0)
  );
}

/** Whether the values below a field of this name are quantities, which the API server writes in its own form. */
function holdsQuantities(name: string): boolean {
  return name === 'limits' || name === 'requests' || name === 'sizeLimit';
}

function stated(fields: Fields): string[] {
  return Object.keys(fields).filter((name) => fields[name] !== undefined);
}

function asFields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
