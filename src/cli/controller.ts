import { type Command, InvalidArgumentError, Option } from 'commander';

/** The flags of `retention controller`; no namespace means all of them. */
export interface ControllerFlags {
  image: string;
  imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  namespace: string[];
  leaseNamespace?: string;
  port: number;
  allowLabels: string[];
  allowAnnotations: string[];
  allowPriorityClasses: string[];
  allowRuntimeClasses: string[];
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
    .addOption(
      new Option(
        '--lease-namespace <name>',
        'where the Lease is by which one of several controllers is elected (default: none, this one works alone)',
      ).env('RETENTION_LEASE_NAMESPACE'),
    )
    .addOption(
      new Option('--port <number>', 'where /metrics, /healthz and /readyz are served; 0 for any free port')
        .env('RETENTION_PORT')
        .argParser(portNumber)
        .default(8080),
    )
    .addOption(allowed('--allow-labels <prefixes>', 'RETENTION_ALLOWED_LABELS', 'spec.runner.labels with such keys'))
    .addOption(
      allowed(
        '--allow-annotations <prefixes>',
        'RETENTION_ALLOWED_ANNOTATIONS',
        'spec.runner.annotations with such keys',
      ),
    )
    .addOption(
      allowed(
        '--allow-priority-classes <names>',
        'RETENTION_ALLOWED_PRIORITY_CLASSES',
        'these as spec.runner.priorityClassName',
      ),
    )
    .addOption(
      allowed(
        '--allow-runtime-classes <names>',
        'RETENTION_ALLOWED_RUNTIME_CLASSES',
        'these as spec.runner.runtimeClassName',
      ),
    )
    .action(async (flags: ControllerFlags) => {
      const { controllerProcess } = await import('./controller-process.ts');
      await controllerProcess(flags, process.env);
    });
}

/** An option that lets policies set more; can be repeated, or a list with commas. */
function allowed(flags: string, variable: string, what: string): Option {
  return new Option(flags, `let policies set ${what}; can be repeated, or a list with commas`)
    .env(variable)
    .argParser(keysOrNames)
    .default([], 'none');
}

function keysOrNames(text: string, before: string[]): string[] {
  const added = items(text);
  for (const item of added) {
    if (!/^[A-Za-z0-9][-A-Za-z0-9_./]{0,316}$/.test(item)) {
      throw new InvalidArgumentError(
        `${JSON.stringify(item)} is no name, and no beginning of a key: these have letters, digits and -_./`,
      );
    }
  }
  return [...new Set([...before, ...added])];
}

/** What a list with commas names. */
function items(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError('it must be a whole number from 0 to 65535');
  return port;
}

/** The namespaces of `before` and of a list with commas, each once. */
function namespaces(text: string, before: string[]): string[] {
  const names = items(text);
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
