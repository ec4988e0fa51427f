import { sameQuantity } from './quantity.ts';
import type { KubernetesObject } from './types.ts';

type Fields = Record<string, unknown>;

/** A field that is not as desired: `.spec.containers[main].image`. */
export interface Difference {
  path: string;
  wanted: unknown;
  found: unknown;
  /** Whether the manager's last apply set it: one that it owns can only have been changed in its name, or on the way. */
  owned: boolean;
}

/**
 * Would a server-side apply of `desired` by `fieldManager` change `live`? Decided by what the API server recorded in
 * managedFields at this manager's last apply: a field with another value, one not stated before and one no longer
 * stated are changes; fields that only others own are not. The record also tells lists merged by key from atomic
 * ones, in custom resources too.
 */
export function applyWouldChange(
  desired: object,
  live: KubernetesObject,
  options: { fieldManager: string; subresource?: 'status' },
): boolean {
  return !applyDifferences(desired, live, options).next().done;
}

/** The paths of the fields that such an apply would change; see `Difference`. */
export function* applyDifferences(
  desired: object,
  live: KubernetesObject,
  { fieldManager, subresource }: { fieldManager: string; subresource?: 'status' },
): Generator<Difference, void> {
  const part = managedPart(desired as Partial<KubernetesObject>, subresource);
  const entry = live.metadata.managedFields?.find(
    (candidate) =>
      candidate.operation === 'Apply' && candidate.manager === fieldManager && candidate.subresource === subresource,
  );
  if (entry?.fieldsV1) yield* differences(part, live, entry.fieldsV1 as Fields, false);
  else for (const name of stated(part)) yield { path: `.${name}`, wanted: part[name], found: undefined, owned: false };
}

/**
 * The fields of `desired` that are not in `live` with the same value, for what was created rather than applied. Lists of
 * named items may hold more.
 */
export function* statedDifferences(desired: unknown, live: unknown, isQuantity = false): Generator<Difference, void> {
  if (desired === undefined) return;
  if (Array.isArray(desired) && Array.isArray(live) && desired.every(nameOf)) {
    for (const item of desired) {
      const found = live.find((candidate) => nameOf(candidate) === nameOf(item));
      for (const { path, ...rest } of statedDifferences(item, found))
        yield { path: `[${nameOf(item)}]${path}`, ...rest };
    }
  } else if (isFields(desired) && isFields(live)) {
    for (const name of stated(desired)) {
      const below = statedDifferences(desired[name], live[name], isQuantity || holdsQuantities(name));
      for (const { path, ...rest } of below) yield { path: `.${name}${path}`, ...rest };
    }
  } else if (!contains(live, desired, isQuantity)) {
    yield { path: '', wanted: desired, found: live, owned: true };
  }
}

function nameOf(item: unknown): unknown {
  return asFields(item).name;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
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
function* differences(
  desired: unknown,
  live: unknown,
  owned: Fields,
  isQuantity: boolean,
): Generator<Difference, void> {
  const paths = Object.keys(owned).filter((path) => path !== '.');
  if (paths.length === 0) {
    if (desired === undefined || !contains(live, desired, isQuantity))
      yield { path: '', wanted: desired, found: live, owned: true };
    return;
  }
  if (!paths.every((path) => path.startsWith('f:'))) {
    yield* listDifferences(asList(desired), asList(live), owned, paths);
    return;
  }
  const [wanted, found] = [asFields(desired), asFields(live)];
  const names = new Set(paths.map((path) => path.slice('f:'.length)));
  for (const name of stated(wanted)) {
    if (names.has(name) || isUnrecordable(wanted[name], found[name])) continue;
    yield { path: `.${name}`, wanted: wanted[name], found: found[name], owned: false };
  }
  for (const name of names) {
    const below = differences(
      wanted[name],
      found[name],
      owned[`f:${name}`] as Fields,
      isQuantity || holdsQuantities(name),
    );
    for (const { path, ...rest } of below) yield { path: `.${name}${path}`, ...rest };
  }
}

/** A list merged by key is recorded by its items: of an empty one there is no record, and nothing to apply. */
function isUnrecordable(desired: unknown, live: unknown): boolean {
  return Array.isArray(desired) && desired.length === 0 && contains(live, desired, false);
}

/** The items of a list merged by key, or of a set, that this manager owns. */
function* listDifferences(
  desired: unknown[],
  live: unknown[],
  owned: Fields,
  paths: string[],
): Generator<Difference, void> {
  if (desired.length !== paths.length) yield { path: '', wanted: desired, found: live, owned: false };
  for (const path of paths) {
    const identity: unknown = JSON.parse(path.slice('k:'.length));
    if (path.startsWith('v:')) {
      if (!desired.includes(identity) || !live.includes(identity)) {
        yield { path: '', wanted: desired, found: live, owned: true };
      }
      continue;
    }
    const item = findItem(desired, identity as Fields);
    const where = `[${Object.values(identity as Fields).join(',')}]`;
    if (item === undefined) {
      yield { path: where, wanted: undefined, found: findItem(live, identity as Fields), owned: true };
      continue;
    }
    const below = differences(item, findItem(live, identity as Fields), owned[path] as Fields, false);
    for (const { path: rest, ...more } of below) yield { path: where + rest, ...more };
  }
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
