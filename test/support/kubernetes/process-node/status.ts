import type { V1ContainerState, V1Pod, V1PodCondition, V1PodStatus } from '@kubernetes/client-node';

/** Where a Pod of one container is in its life. */
export interface PodProgress {
  state: V1ContainerState;
  /** Given when it is not what the container's state says. */
  failure?: { reason?: string; message?: string };
}

/** The status that a kubelet writes for a Pod of one container that never restarts. Pure; see pkg/kubelet/status. */
export function podStatus(pod: V1Pod, { state, failure }: PodProgress, now: Date): V1PodStatus {
  const container = pod.spec!.containers[0]!;
  const phase = failure ? 'Failed' : phaseOf(state);
  const running = state.running !== undefined;
  const started = state.waiting === undefined;
  return {
    phase,
    ...failure,
    startTime: pod.status?.startTime ?? now,
    hostIP: '127.0.0.1',
    hostIPs: [{ ip: '127.0.0.1' }],
    ...(started ? { podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }] } : {}),
    qosClass: pod.status?.qosClass,
    conditions: conditions(pod, phase, running, now),
    containerStatuses: [
      {
        name: container.name,
        image: container.image!,
        imageID: started ? `process-node://${container.image}` : '',
        ...(started ? { containerID: containerId(pod) } : {}),
        ready: running,
        started: running,
        restartCount: 0,
        lastState: {},
        state,
      },
    ],
  };
}

export function containerId(pod: V1Pod): string {
  return `process-node://${pod.metadata!.uid}`;
}

function phaseOf({ waiting, running, terminated }: V1ContainerState): string {
  if (waiting) return 'Pending';
  if (running) return 'Running';
  return terminated?.exitCode === 0 ? 'Succeeded' : 'Failed';
}

function conditions(pod: V1Pod, phase: string, running: boolean, now: Date): V1PodCondition[] {
  const name = pod.spec!.containers[0]!.name;
  const notReady = { reason: 'ContainersNotReady', message: `containers with unready status: [${name}]` };
  const terminal: Record<string, object> = { Succeeded: { reason: 'PodCompleted' }, Failed: { reason: 'PodFailed' } };
  const ready =
    running && phase === 'Running' ? { status: 'True' } : { status: 'False', ...(terminal[phase] ?? notReady) };
  const initialized = { status: 'True', ...(phase === 'Succeeded' ? terminal.Succeeded : {}) };
  const sandbox = { status: phase === 'Running' ? 'True' : 'False' };
  const wanted = { PodReadyToStartContainers: sandbox, Initialized: initialized, Ready: ready, ContainersReady: ready };
  // A condition that others own (PodScheduled, DisruptionTarget) is not named here, and so stays as it is.
  return Object.entries(wanted).map(([type, condition]) => {
    const previous = pod.status?.conditions?.find((other) => other.type === type);
    const since = previous?.status === condition.status ? previous.lastTransitionTime : now;
    return { type, ...condition, lastTransitionTime: since };
  });
}
