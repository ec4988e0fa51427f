import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { policyMetricPrefix, policyMetrics, policyMetricsText } from '../../../src/controller/policy-metrics.ts';
import { RuntimeMetrics } from '../../../src/kubernetes/runtime-metrics.ts';
import { metricsOf } from '../../support/deploy/promql.ts';

const path = (file: string) => new URL(`../../../${file}`, import.meta.url);
const read = (file: string) => readFileSync(path(file), 'utf8');

/** Documented metric → its type. */
const documented = new Map(
  [...read('docs/metrics.md').matchAll(/^\| `(retention_\w+)` \| (gauge|counter|histogram) \|/gm)].map(
    ([, name, type]) => [name!, type!],
  ),
);
const processMetrics = /^(process|nodejs)_/;

/** What of these expressions docs/metrics.md does not know. */
function unknownMetrics(expressions: string[]): string[] {
  const known = (metric: string) => {
    const histogram = metric.replace(/_(bucket|sum|count)$/, '');
    return (
      processMetrics.test(metric) ||
      ['gauge', 'counter'].includes(documented.get(metric) ?? '') ||
      (histogram !== metric && documented.get(histogram) === 'histogram')
    );
  };
  return expressions.flatMap(metricsOf).filter((metric) => !known(metric));
}

const text = z.string().min(1);
/** As far as the Prometheus operator's CRD asks for it; that CRD is not at hand. */
const ruleSchema = z.strictObject({
  alert: text,
  expr: text,
  for: z.string().regex(/^\d+[smh]$/),
  labels: z.strictObject({ severity: z.enum(['warning', 'critical']) }),
  // No runbook_url: nobody knows where the reader's copy of docs/runbooks is.
  annotations: z.strictObject({ summary: text }),
});
const prometheusRuleSchema = z.strictObject({
  apiVersion: z.literal('monitoring.coreos.com/v1'),
  kind: z.literal('PrometheusRule'),
  metadata: z.object({ name: text, namespace: text }),
  spec: z.strictObject({ groups: z.array(z.strictObject({ name: text, rules: z.array(ruleSchema) })).min(1) }),
});
const rules = prometheusRuleSchema
  .parse(parse(read('deploy/components/monitoring/prometheusrule.yaml')))
  .spec.groups.flatMap((group) => group.rules);

test('docs/metrics.md lists what the controller exports, by type and labels', async () => {
  const { registry } = new RuntimeMetrics({
    depth: () => 0,
    failing: () => 0,
    leading: () => true,
    watches: () => [{ kind: 'CronJob', namespace: 'lab', failures: 0, omitted: 0 }],
    unavailable: () => new Map(),
  });
  const text = (await registry.metrics()) + (await policyMetricsText([]));
  const exported = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)]
    .map(([, name, type]) => [name!, type!] as const)
    .filter(([name]) => !processMetrics.test(name));
  expect(new Map(exported)).toEqual(documented);
  const labels = [...read('docs/metrics.md').matchAll(/^\| `(retention_\w+)` \| \w+ \| ([^|]*)\|/gm)];
  for (const [, name, cell] of labels) {
    const ofPolicies = name!.startsWith(policyMetricPrefix);
    const told = [...cell!.replace(/\(.*\)/, '').matchAll(/`(\w+)`/g)].map(([, label]) => label);
    const labels = ofPolicies
      ? policyMetrics[name!.slice(policyMetricPrefix.length) as keyof typeof policyMetrics].labels
      : (registry.getSingleMetric(name!) as unknown as { labelNames: string[] }).labelNames;
    expect({ name, labels }).toEqual({ name, labels: told });
  }
});

describe('alerts', () => {
  test('are those that docs/metrics.md lists', () => {
    const listed = [...read('docs/metrics.md').matchAll(/^\| `(Retention\w+)` \| .* \| \[/gm)].map(([, name]) => name);
    expect(rules.map(({ alert }) => alert)).toEqual(listed);
  });

  test.each(rules)('$alert asks for metrics that there are, and its runbook exists', ({ alert, expr }) => {
    expect(unknownMetrics([expr])).toEqual([]);
    const runbook = read(`docs/runbooks/${alert}.md`);
    expect(runbook).toMatch(new RegExp(`^# ${alert}\n`));
    for (const chapter of ['Impact', 'Look', 'Repair']) expect(runbook).toContain(`## ${chapter}`);
  });

  test('ask for every metric that says that a policy is not well', () => {
    const asked = new Set(rules.flatMap(({ expr }) => metricsOf(expr)));
    const needed = ['ready', 'stalled', 'overdue', 'last_run_failed'].map((name) => `${policyMetricPrefix}${name}`);
    expect(needed.filter((name) => !asked.has(name))).toEqual([]);
  });

  test('name in their summary only labels that their expression keeps', () => {
    for (const { expr, annotations } of rules) {
      const kept = expr.match(/by \(([^)]*)\)/)?.[1]?.split(', ') ?? [];
      const named = [...annotations.summary.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label!);
      expect(kept).toEqual(expect.arrayContaining(named));
    }
  });
});

test('the ServiceMonitor keeps the labels of policies, and asks the port that the Service has', () => {
  const { spec } = z
    .strictObject({
      apiVersion: z.literal('monitoring.coreos.com/v1'),
      kind: z.literal('ServiceMonitor'),
      metadata: z.object({ name: text, namespace: text }),
      spec: z.strictObject({
        selector: z.strictObject({ matchLabels: z.record(text, text) }),
        endpoints: z.array(z.strictObject({ port: text, path: text, interval: text, honorLabels: z.literal(true) })),
      }),
    })
    .parse(parse(read('deploy/components/monitoring/servicemonitor.yaml')));
  const service = parse(read('deploy/base/service.yaml')) as {
    metadata: { labels: Record<string, string> };
    spec: { ports: { name: string }[] };
  };
  expect(service.metadata.labels).toMatchObject(spec.selector.matchLabels);
  expect(service.spec.ports.map(({ name }) => name)).toEqual(spec.endpoints.map(({ port }) => port));
});

describe('the dashboard', () => {
  const { panels, templating } = z
    .object({
      panels: z.array(z.object({ id: z.int(), title: text, targets: z.array(z.object({ expr: text })).default([]) })),
      templating: z.object({ list: z.array(z.object({ name: text, query: z.unknown() })) }),
    })
    .parse(JSON.parse(read('deploy/chart/files/dashboard.json')));

  test.each(panels.filter(({ targets }) => targets.length > 0))('$title asks for metrics that there are', (panel) => {
    const expressions = panel.targets.map(({ expr }) => expr.replaceAll('$__rate_interval', '5m'));
    expect(unknownMetrics(expressions)).toEqual([]);
  });

  test('uses only variables that it has, and gives each panel a number of its own', () => {
    const used = JSON.stringify(panels).matchAll(/\$\{?([a-z]\w*)/g);
    const names = templating.list.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining([...new Set([...used].map(([, name]) => name!))]));
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  });

  test('shows every metric of a policy', () => {
    const shown = new Set(
      panels.flatMap(({ targets }) =>
        targets.flatMap(({ expr }) => metricsOf(expr.replaceAll('$__rate_interval', '5m'))),
      ),
    );
    const policies = [...documented.keys()].filter((name) => name.startsWith('retention_policy_'));
    expect(policies.filter((name) => !shown.has(name))).toEqual([]);
  });
});

test('every runbook belongs to an alert', () => {
  const pages = readdirSync(path('docs/runbooks')).toSorted();
  expect(pages).toEqual(rules.map(({ alert }) => `${alert}.md`).toSorted());
});
