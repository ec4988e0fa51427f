import { type Command, InvalidArgumentError, Option } from 'commander';
import { runController } from '../controller/controller.ts';
import { ConfigurationError } from '../database/config.ts';
import { type Connection, serviceAccountConnection } from '../kubernetes/connection.ts';
import { jsonLogger } from './logger.ts';
import { stopSignal } from './stop-signal.ts';

interface Flags {
  image: string;
  imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  namespace: string[];
}

/** `retention controller`: keeps the CronJobs of all policies in place, until SIGTERM. */
export function addControllerCommand(program: Command): void {
  program
    .command('controller')
    .description('watch RetentionPolicies and keep their CronJobs in place; runs in the cluster, or by KUBECONFIG')
    .addOption(
      new Option('--image <name>', 'image of the runner Pods').env('RETENTION_RUNNER_IMAGE').makeOptionMandatory(),
    )
    .addOption(
      new Option('--image-pull-policy <policy>', 'when nodes pull that image (default: as Kubernetes does)')
        .env('RETENTION_RUNNER_IMAGE_PULL_POLICY')
        .choices(['Always', 'IfNotPresent', 'Never']),
    )
    .addOption(
      new Option('--namespace <name>', 'work in this namespace only; can be repeated, or a list with commas')
        .env('RETENTION_NAMESPACES')
        .argParser(namespaces)
        .default([], 'all'),
    )
    .action(async ({ image, imagePullPolicy, namespace }: Flags) => {
      const log = jsonLogger(process.env);
      const connection = await clusterConnection();
      await runController({ connection, image, imagePullPolicy, namespaces: namespace, log, signal: stopSignal() });
    });
}

/** The namespaces of `before` and of a list with commas, each once. */
function namespaces(text: string, before: string[]): string[] {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  for (const name of names) {
    // A label as RFC 1123 has it, which is what the API server takes for a namespace's name.
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) {
      throw new InvalidArgumentError(
        `${JSON.stringify(name)} is no name of a namespace: it has lower-case letters, digits and inner hyphens, 63 at most`,
      );
    }
  }
  return [...new Set([...before, ...names])];
}

/** KUBECONFIG where it is set; else the Pod's service account; else the user's kubeconfig. */
async function clusterConnection(): Promise<Connection> {
  if (!process.env.KUBECONFIG && process.env.KUBERNETES_SERVICE_HOST) return serviceAccountConnection();
  // It loads client-node, which takes most of a second that no other command should wait for.
  const { connectionFromKubeconfig } = await import('../kubernetes/connection-from-kubeconfig.ts');
  try {
    return connectionFromKubeconfig();
  } catch (cause) {
    throw new ConfigurationError(`the kubeconfig cannot be used: ${(cause as Error).message}`, { cause });
  }
}
