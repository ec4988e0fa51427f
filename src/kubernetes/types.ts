/**
 * A Kubernetes type as it travels in JSON: timestamps are strings, in lists and in watches.
 * Meant for client-node's generated types, imported as types only: `Json<V1CronJob>`.
 */
export type Json<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? Json<Item>[]
    : T extends object
      ? { [Key in keyof T]: Json<T[Key]> }
      : T;

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

interface ManagedFieldsEntry {
  manager?: string;
  operation?: string;
  apiVersion?: string;
  subresource?: string;
  time?: string;
  fieldsV1?: object;
}

export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  managedFields?: ManagedFieldsEntry[];
}

export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  /** Parts of the object that were too deep or too large to be read, and why; the client's own, no API server knows it. */
  omitted?: Record<string, string>;
}

/** A built-in type of client-node as this folder's client returns it: `Live<V1CronJob>`. */
export type Live<T> = Omit<Json<T>, keyof KubernetesObject> & KubernetesObject;

/** Where a kind of object lives in the API: `{apiVersion: 'batch/v1', kind: 'CronJob', plural: 'cronjobs', namespaced: true}`. */
export interface Resource<T extends KubernetesObject = KubernetesObject> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Never set: it carries the object's type from the resource to the client's results. */
  readonly object?: T;
}

/** Names one object; `namespace` is absent for cluster-scoped ones. */
export interface ObjectRef {
  namespace?: string;
  name: string;
}

/** The key of an object in caches and queues: `namespace/name`, or `name` when cluster-scoped. */
export function keyOf({ namespace, name }: ObjectRef): string {
  return namespace ? `${namespace}/${name}` : name;
}

/** The inverse of `keyOf`. */
export function refOf(key: string): ObjectRef {
  const slash = key.indexOf('/');
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
