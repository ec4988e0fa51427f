import { stringify } from 'yaml';
import { z } from 'zod';
import { group, kind, maxNameLength, plural, version } from '../policy.ts';
import { specSchema } from '../rules.ts';
import { initialStatus, statusSchema } from '../status.ts';
import { descriptions } from './descriptions.ts';

type Schema = { [key: string]: unknown };

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Turns zod's JSON schema into what a structural CRD schema may contain. */
function structural(schema: Schema): Schema {
  const { additionalProperties, propertyNames: _names, $schema: _dialect, anyOf, ...kept } = schema;
  const result: Schema = {};
  for (const [key, value] of Object.entries(kept)) {
    if (key === 'properties' && isSchema(value)) {
      result.properties = Object.fromEntries(
        Object.entries(value).map(([name, property]) => [name, structural(property as Schema)]),
      );
    } else if (key === 'items' && isSchema(value)) {
      result.items = structural(value);
    } else {
      result[key] = value;
    }
  }
  if (isSchema(additionalProperties) && Object.keys(additionalProperties).length > 0) {
    result.additionalProperties = structural(additionalProperties);
  }
  // A quantity: the union itself is not structural, Kubernetes' own marker says the same.
  if (anyOf !== undefined && result['x-kubernetes-int-or-string'] !== true) {
    throw new Error(`a union is not structural: ${JSON.stringify(schema)}`);
  }
  return result;
}

/** The schema with a description at each of its fields that has none of its own; `parent` is the field that holds it. */
function described(schema: Schema, parent: string): Schema {
  const result: Schema = { ...schema };
  if (isSchema(schema.properties)) {
    result.properties = Object.fromEntries(
      Object.entries(schema.properties).map(([name, property]) => {
        const description = descriptions[`${parent}.${name}`] ?? descriptions[name];
        const own = description === undefined ? {} : { description };
        return [name, { ...own, ...described(property as Schema, name) }];
      }),
    );
  }
  if (isSchema(schema.items)) result.items = described(schema.items, parent);
  return result;
}

/** JSON schema of a zod schema, as a CRD wants it; defaults included, so that the API server fills them in. */
function openApi(schema: z.ZodType): Schema {
  return structural(z.toJSONSchema(schema, { io: 'input', target: 'openapi-3.0' }) as Schema);
}

const columns = [
  { name: 'Preset', type: 'string', jsonPath: '.spec.preset' },
  { name: 'Schedule', type: 'string', jsonPath: '.spec.schedule' },
  { name: 'Suspended', type: 'boolean', jsonPath: '.status.suspended' },
  { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
  { name: 'Last run', type: 'date', jsonPath: '.status.lastRun.completionTime' },
  { name: 'Result', type: 'string', jsonPath: '.status.lastRun.result' },
  { name: 'Rows', type: 'integer', jsonPath: '.status.lastRun.rows' },
  // A string: kubectl shows a date column as an age, and one in the future as <invalid>.
  { name: 'Next', type: 'string', jsonPath: '.status.nextRun' },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  { name: 'Message', type: 'string', priority: 1, jsonPath: '.status.message' },
];

/** The CustomResourceDefinition of RetentionPolicy. */
export function customResourceDefinition(): Schema {
  const spec = described(openApi(specSchema), 'spec');
  const status = described(openApi(statusSchema), 'status');
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: 'retentionpolicy',
        shortNames: ['retpol'],
        categories: ['retention'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              description: 'How long the agent tables of one database keep their rows, and when that is applied.',
              required: ['spec'],
              'x-kubernetes-validations': [
                {
                  rule: `self.metadata.name.size() <= ${maxNameLength}`,
                  message: `metadata.name must be no longer than ${maxNameLength} characters`,
                },
              ],
              properties: {
                apiVersion: { type: 'string' },
                kind: { type: 'string' },
                metadata: { type: 'object' },
                spec: { description: 'What the policy asks for.', ...spec },
                status: { description: 'What is in place, and how the runs went.', default: initialStatus, ...status },
              },
            },
          },
        },
      ],
    },
  };
}

/** crds/retentionpolicies.yaml. */
export function crdYaml(): string {
  const header = '# Generated from src/api by `npm run generate`; do not edit.\n';
  return header + stringify(customResourceDefinition(), { lineWidth: 0, aliasDuplicateObjects: false });
}
