import { apiVersion, kind } from '../policy.ts';
import { presetNames, presets } from '../presets.ts';
import { customResourceDefinition } from './crd.ts';

interface Property {
  type?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  properties?: Record<string, Property>;
  items?: Property;
  required?: string[];
  minimum?: number;
  maximum?: number;
}

/** Kubernetes' own documentation has its fields. */
const asInPod = 'runner.affinity';

/** One table row per field, parents before children. */
function rows(property: Property, path: string, required: boolean): string[] {
  const bounds =
    property.minimum !== undefined && property.maximum !== undefined && !/\d to \d/.test(property.description ?? '')
      ? ` ${property.minimum} to ${property.maximum}.`
      : '';
  const values =
    property.enum === undefined ? '' : ` One of ${property.enum.map((value) => `\`${value}\``).join(', ')}.`;
  const fallback = required
    ? 'required'
    : property.default === undefined || typeof property.default === 'object'
      ? ''
      : `\`${String(property.default)}\``;
  const text = `${property.description ?? ''}${values}${bounds}`.replaceAll('|', '\\|').trim();
  const own = path === '' ? [] : [`| \`${path}\` | ${property.type ?? ''} | ${fallback} | ${text} |`];
  const children = path === asInPod ? {} : (property.properties ?? property.items?.properties ?? {});
  const prefix = path === '' ? '' : property.items ? `${path}[].` : `${path}.`;
  const needed = property.required ?? property.items?.required ?? [];
  return [
    ...own,
    ...Object.entries(children).flatMap(([name, child]) => rows(child, prefix + name, needed.includes(name))),
  ];
}

const table = (property: Property) =>
  ['| field | type | default | what it says |', '|---|---|---|---|', ...rows(property, '', false)].join('\n');

/** docs/reference.md: every field of the resource, from the same schema as the CRD. */
export function referencePage(): string {
  const definition = customResourceDefinition() as {
    spec: { versions: [{ schema: { openAPIV3Schema: { properties: Record<'spec' | 'status', Property> } } }] };
  };
  const { spec, status } = definition.spec.versions[0].schema.openAPIV3Schema.properties;
  const fields = Object.keys(presets.Custom) as (keyof typeof presets.Custom)[];
  const presetTable = [
    `| | ${presetNames.join(' | ')} |`,
    `|---|${presetNames.map(() => '---:|').join('')}`,
    ...fields.map((field) => `| \`${field}\` | ${presetNames.map((name) => presets[name][field]).join(' | ')} |`),
  ].join('\n');
  return `<!-- Generated from src/api by \`npm run generate\`; do not edit. -->
# ${kind}, ${apiVersion}

## Presets

${presetTable}

## spec

${table(spec)}

## status

${table(status)}
`;
}
