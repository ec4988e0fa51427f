import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ApiException,
  type CoreV1Api,
  PatchStrategy,
  setHeaderOptions,
  type V1Pod,
  type V1PodStatus,
} from '@kubernetes/client-node';
import type { Log } from '../binaries.ts';
import { errorMessage, hasStatus } from './errors.ts';

const mergePatch = setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch);

/** Where Pods run: what all of them share. */
export interface Writer {
  core: CoreV1Api;
  nodeName: string;
  log: Log;
  /** Aborted when the node stops. */
  stopped: AbortSignal;
}

/**
 * Writes the Pod's status, again and again while the API server is away, and gives the Pod as it is then; nothing if the
 * Pod is gone or the write is refused.
 */
export async function writeStatus(writer: Writer, pod: V1Pod, status: V1PodStatus): Promise<V1Pod | undefined> {
  const { name, namespace, uid } = pod.metadata!;
  // The UID keeps it from a new Pod of the same name.
  const body = { metadata: { uid }, status };
  return persist(writer, `status of ${namespace}/${name}`, () =>
    writer.core.patchNamespacedPodStatus({ name: name!, namespace: namespace!, body }, mergePatch),
  );
}

/** Takes a Pod that has ended and is to be deleted out of the API, as a kubelet does. */
export async function removePod(writer: Writer, pod: V1Pod): Promise<void> {
  const { name, namespace, uid } = pod.metadata!;
  const body = { gracePeriodSeconds: 0, preconditions: { uid } };
  await persist(writer, `deletion of ${namespace}/${name}`, () =>
    writer.core.deleteNamespacedPod({ name: name!, namespace: namespace!, body }),
  );
}

/** Records an Event about the Pod, or its container; one that can't be written is only logged. */
export async function writeEvent(
  writer: Writer,
  pod: V1Pod,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
  about: 'pod' | 'container' = 'pod',
): Promise<void> {
  const { name, namespace, uid, resourceVersion } = pod.metadata!;
  const fieldPath = about === 'container' ? `spec.containers{${pod.spec!.containers[0]!.name}}` : undefined;
  const component = reason.endsWith('Scheduled') || reason.endsWith('Scheduling') ? 'default-scheduler' : 'kubelet';
  const now = new Date();
  const body = {
    metadata: { name: `${name}.${randomBytes(8).toString('hex')}`, namespace },
    involvedObject: { apiVersion: 'v1', kind: 'Pod', name, namespace, uid, resourceVersion, fieldPath },
    type,
    reason,
    message,
    source: { component, host: writer.nodeName },
    reportingComponent: component,
    reportingInstance: writer.nodeName,
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  };
  await writer.core.createNamespacedEvent({ namespace: namespace!, body }).catch((error: unknown) => {
    writer.log(`event ${reason} of ${namespace}/${name}: ${errorMessage(error)}`);
  });
}

async function persist<T>(writer: Writer, what: string, write: () => Promise<T>): Promise<T | undefined> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (hasStatus(error, 404, 409)) return undefined;
      writer.log(`${what}: ${errorMessage(error)}`);
      const refused = error instanceof ApiException && error.code < 500 && error.code !== 429;
      if (refused || writer.stopped.aborted) return undefined;
      await sleep(500);
    }
  }
}
