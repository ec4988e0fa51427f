import { setTimeout as sleep } from 'node:timers/promises';
import { CoreV1Api, type KubeConfig, type V1Pod, Watch } from '@kubernetes/client-node';
import type { Log } from '../binaries.ts';
import { errorMessage } from './errors.ts';

export interface PodHandlers {
  /** A Pod that is new or has changed, or that a list shows again. */
  changed(pod: V1Pod): void;
  /** The Pod of this UID is gone. */
  gone(uid: string): void;
}

/** Lists and watches all Pods, and starts again after every error, until `signal` is aborted. */
export async function followPods(
  kubeConfig: KubeConfig,
  handlers: PodHandlers,
  signal: AbortSignal,
  log: Log,
): Promise<void> {
  const core = kubeConfig.makeApiClient(CoreV1Api);
  const known = new Set<string>();
  const changed = (pod: V1Pod) => {
    known.add(pod.metadata!.uid!);
    handlers.changed(pod);
  };
  const gone = (uid: string) => {
    known.delete(uid);
    handlers.gone(uid);
  };

  while (!signal.aborted) {
    try {
      const list = await core.listPodForAllNamespaces();
      const listed = new Set(list.items.map((pod) => pod.metadata!.uid!));
      for (const uid of known) if (!listed.has(uid)) gone(uid);
      for (const pod of list.items) changed(pod);
      await watchPods(kubeConfig, list.metadata!.resourceVersion!, { changed, gone }, signal);
    } catch (error) {
      if (signal.aborted) return;
      log(`watching Pods: ${errorMessage(error)}`);
      await sleep(500);
    }
  }
}

/** Resolves when the watch ends: the server closes it now and then, and the client after 30 s of silence. */
async function watchPods(
  kubeConfig: KubeConfig,
  resourceVersion: string,
  handlers: PodHandlers,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const onEvent = (type: string, pod: V1Pod) => {
    if (type === 'DELETED') handlers.gone(pod.metadata!.uid!);
    else if (type === 'ADDED' || type === 'MODIFIED') handlers.changed(pod);
  };
  const request = await new Watch(kubeConfig).watch('/api/v1/pods', { resourceVersion }, onEvent, () => resolve());
  const abort = () => request.abort();
  signal.addEventListener('abort', abort);
  if (signal.aborted) abort();
  await promise;
  signal.removeEventListener('abort', abort);
}
