import { group } from '../api/policy.ts';
import type { RetentionPolicySpec } from '../api/rules.ts';

/** What policies may set in `spec.runner`, as the administrator says; of an empty list nothing. */
export interface Allowed {
  /** How keys of labels and annotations may begin. */
  labels: readonly string[];
  annotations: readonly string[];
  /** Names. */
  priorityClasses: readonly string[];
  runtimeClasses: readonly string[];
}

/** What others read labels, annotations and classes for, the controller cannot know: nothing passes unless it is named. */
export const nothingAllowed: Allowed = { labels: [], annotations: [], priorityClasses: [], runtimeClasses: [] };

/** What no list allows: how a container is confined, and by which labels this operator and Services find its own Pods and objects. */
const neverAllowed = [
  'container.apparmor.security.beta.kubernetes.io/',
  'container.seccomp.security.alpha.kubernetes.io/',
  'seccomp.security.alpha.kubernetes.io/',
  'app.kubernetes.io/',
  `${group}/`,
];

/** Others, such as those of device plugins, would put files of the node into the Pod. */
const plainResources = ['cpu', 'memory', 'ephemeral-storage'];

/** Which field of `spec.runner` sets what policies may not set, and what is allowed; undefined where there is none. */
export function notAllowed({ runner = {} }: Pick<RetentionPolicySpec, 'runner'>, allowed: Allowed): string | undefined {
  const { resources, priorityClassName, runtimeClassName } = runner;
  const classes = [
    ['priorityClassName', priorityClassName, allowed.priorityClasses, 'priorityClasses'],
    ['runtimeClassName', runtimeClassName, allowed.runtimeClasses, 'runtimeClasses'],
  ] as const;
  const problems = [
    ...(['labels', 'annotations'] as const).flatMap((field) =>
      Object.keys(runner[field] ?? {})
        .filter((key) => begins(key, neverAllowed) || !begins(key, allowed[field]))
        .map((key) => refusal(field, key, `keys that begin with ${listed(allowed[field])}`, field)),
    ),
    ...classes.flatMap(([field, name, names, value]) =>
      name && !names.includes(name) ? [refusal(field, name, listed(names), value)] : [],
    ),
    ...(['limits', 'requests'] as const).flatMap((field) =>
      Object.keys(resources?.[field] ?? {})
        .filter((name) => !plainResources.includes(name))
        .map((name) => `spec.runner.resources.${field}: "${name}" is not allowed (allowed: ${listed(plainResources)})`),
    ),
  ];
  return problems[0];
}

const begins = (key: string, prefixes: readonly string[]) => prefixes.some((prefix) => key.startsWith(prefix));

function refusal(field: string, given: string, allowed: string, value: string): string {
  const words = /nothing$/.test(allowed) ? 'nothing' : allowed;
  return `spec.runner.${field}: "${given}" is not allowed (allowed: ${words}); the administrator says what is, in controller.policiesMaySet.${value} of the chart`;
}

const listed = (values: readonly string[]) => (values.length === 0 ? 'nothing' : values.join(', '));
