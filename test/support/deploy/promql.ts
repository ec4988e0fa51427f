import { parser } from '@prometheus-io/lezer-promql';

/** The metrics that an expression asks for; one that is no PromQL is an exception. */
export function metricsOf(expression: string): string[] {
  const metrics: string[] = [];
  parser.parse(expression).iterate({
    enter({ name, type, from, to, node }) {
      if (type.isError) throw new Error(`no PromQL at ${from}: ${expression}`);
      if (name === 'Identifier' && node.parent?.name === 'VectorSelector') metrics.push(expression.slice(from, to));
    },
  });
  return metrics;
}
