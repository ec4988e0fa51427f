import { setFlagsFromString } from 'node:v8';
import { runnerEnvironment } from '../api/run-request.ts';
import { runController } from '../controller/controller.ts';
import { ConfigurationError } from '../database/config.ts';
import { type Connection, serviceAccountConnection } from '../kubernetes/connection.ts';
import type { ControllerFlags } from './controller.ts';
import { jsonLogger } from './logger.ts';
import { stopSignal } from './stop-signal.ts';

/** Runs the controller until SIGTERM or SIGINT. */
export async function controllerProcess(flags: ControllerFlags, env: NodeJS.ProcessEnv): Promise<void> {
  const { image, imagePullPolicy, namespace: namespaces, leaseNamespace, port } = flags;
  const allowed = {
    labels: flags.allowLabels,
    annotations: flags.allowAnnotations,
    priorityClasses: flags.allowPriorityClasses,
    runtimeClasses: flags.allowRuntimeClasses,
  };
  const log = jsonLogger(env);
  // Most of the heap is what is watched, and stays: it may grow by 30 % until garbage is collected, not to its double.
  setFlagsFromString('--heap-growing-percent=30');
  const connection = await clusterConnection(env);
  const signal = stopSignal();
  try {
    await runController({ connection, image, imagePullPolicy, allowed, namespaces, leaseNamespace, port, log, signal });
  } catch (error) {
    log.error({ err: error }, 'the controller ends');
    // At once, since another one may lead by now; with 1, so that the kubelet starts it anew.
    process.exit(1);
  }
}

/** KUBECONFIG where it is set; else the Pod's service account; else the user's kubeconfig. */
async function clusterConnection(env: NodeJS.ProcessEnv): Promise<Connection> {
  if (!env.KUBECONFIG && env.KUBERNETES_SERVICE_HOST)
    return serviceAccountConnection(env[runnerEnvironment.serviceAccountDirectory]);
  // It loads client-node, which takes most of a second, which a controller in a Pod need not wait for.
  const { connectionFromKubeconfig } = await import('../kubernetes/connection-from-kubeconfig.ts');
  try {
    return connectionFromKubeconfig();
  } catch (cause) {
    throw new ConfigurationError(`the kubeconfig cannot be used: ${(cause as Error).message}`, { cause });
  }
}
