import type { V1Pod } from '@kubernetes/client-node';
import { errorMessage, hasStatus } from './errors.ts';
import { type Writer, writeEvent, writeStatus } from './pod-writer.ts';

/** Binds a Pod to the node, as the scheduler does, or says why the Pod does not fit: for want of a label. */
export async function schedule(writer: Writer, labels: Record<string, string>, pod: V1Pod): Promise<void> {
  const { name, namespace, uid, deletionTimestamp } = pod.metadata!;
  const { schedulerName, nodeSelector = {} } = pod.spec!;
  if (deletionTimestamp || schedulerName !== 'default-scheduler') return;

  if (Object.entries(nodeSelector).some(([key, value]) => labels[key] !== value)) {
    if (pod.status?.conditions?.some(({ reason }) => reason === 'Unschedulable')) return;
    const message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message };
    await writeStatus(writer, pod, { conditions: [{ ...condition, lastTransitionTime: new Date() }] });
    return writeEvent(writer, pod, 'Warning', 'FailedScheduling', message);
  }
  const target = { apiVersion: 'v1', kind: 'Node', name: writer.nodeName };
  try {
    await writer.core.createNamespacedPodBinding({
      name: name!,
      namespace: namespace!,
      body: { metadata: { name, namespace, uid }, target },
    });
    await writeEvent(
      writer,
      pod,
      'Normal',
      'Scheduled',
      `Successfully assigned ${namespace}/${name} to ${writer.nodeName}`,
    );
  } catch (error) {
    if (!hasStatus(error, 404, 409)) writer.log(`binding ${namespace}/${name}: ${errorMessage(error)}`);
  }
}
