import fc from 'fast-check';
import { z } from 'zod';
import { dateTime, mapKey, meaningful, oddText } from './values.ts';

/** What is read of an OpenAPI schema. */
interface SchemaNode {
  type?: string | undefined;
  format?: string | undefined;
  enum?: unknown[] | undefined;
  properties?: Record<string, SchemaNode> | undefined;
  additionalProperties?: SchemaNode | undefined;
  items?: SchemaNode | undefined;
  required?: string[] | undefined;
  pattern?: string | undefined;
  minimum?: number | undefined;
  maximum?: number | undefined;
  minLength?: number | undefined;
  maxLength?: number | undefined;
  minItems?: number | undefined;
  maxItems?: number | undefined;
  maxProperties?: number | undefined;
  'x-kubernetes-list-type'?: string | undefined;
}

const number = z.number().optional();
const nodeSchema: z.ZodType<SchemaNode> = z.object({
  type: z.string().optional(),
  format: z.string().optional(),
  enum: z.array(z.unknown()).optional(),
  properties: z
    .record(
      z.string(),
      z.lazy(() => nodeSchema),
    )
    .optional(),
  additionalProperties: z.lazy(() => nodeSchema).optional(),
  items: z.lazy(() => nodeSchema).optional(),
  required: z.array(z.string()).optional(),
  pattern: z.string().optional(),
  minimum: number,
  maximum: number,
  minLength: number,
  maxLength: number,
  minItems: number,
  maxItems: number,
  maxProperties: number,
  'x-kubernetes-list-type': z.string().optional(),
});

const definitionSchema = z.object({
  spec: z.object({ versions: z.tuple([z.object({ schema: z.object({ openAPIV3Schema: nodeSchema }) })]) }),
});

/** The schemas of spec and status in a CustomResourceDefinition. */
export function schemasOf(definition: unknown): { spec: SchemaNode; status: SchemaNode } {
  const [{ schema }] = definitionSchema.parse(definition).spec.versions;
  const { spec, status } = schema.openAPIV3Schema.properties ?? {};
  if (!spec || !status) throw new Error('the definition has no schema of spec and status');
  return { spec, status };
}

/** The names of all fields below a schema. */
export function fieldNames({ properties = {}, items, additionalProperties }: SchemaNode): string[] {
  const below = [...Object.values(properties), items, additionalProperties].flatMap((node) =>
    node ? fieldNames(node) : [],
  );
  return [...new Set([...Object.keys(properties), ...below])];
}

/**
 * Values of a schema, edges included; of each hundred fields and items about `wrong` are just past an edge, of another
 * type, or not there at all.
 */
export function valuesOf(schema: SchemaNode, wrong: number, name = ''): fc.Arbitrary<unknown> {
  const right = rightValues(schema, wrong, name);
  if (wrong === 0) return right;
  return fc.oneof({ weight: 100 - wrong, arbitrary: right }, { weight: wrong, arbitrary: wrongValues(schema) });
}

function rightValues(schema: SchemaNode, wrong: number, name: string): fc.Arbitrary<unknown> {
  if (schema.enum) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'object':
      return objects(schema, wrong);
    case 'array':
      return arrays(schema, wrong);
    case 'string':
      return texts(schema, name);
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return integers(schema);
    case 'number':
      return fc.oneof(fc.nat(), fc.double({ min: schema.minimum ?? -1, noNaN: true, noDefaultInfinity: true }));
    default:
      // Only quantities have no type.
      return fc.oneof(fc.nat(64), fc.constantFrom('1', '500m', '256Mi', '1Gi', '1e3', '0', '-1', '.5', '1E400'));
  }
}

function objects(schema: SchemaNode, wrong: number): fc.Arbitrary<unknown> {
  const { properties = {}, additionalProperties, required = [], maxProperties = 8 } = schema;
  if (additionalProperties) {
    return fc.dictionary(mapKey, valuesOf(additionalProperties, wrong), { maxKeys: Math.min(3, maxProperties) });
  }
  if (Object.keys(properties).length === 0) return affinities;
  const fields = Object.entries(properties).map(([name, node]) => {
    const value = valuesOf(node, wrong, name);
    const left = required.includes(name) ? wrong : 60;
    return fc
      .oneof({ weight: left, arbitrary: fc.constant([]) }, { weight: 100 - left, arbitrary: value.map((v) => [v]) })
      .map((found: readonly unknown[]) => found.map((v): [string, unknown] => [name, v]));
  });
  return fc.tuple(...fields).map((found) => Object.fromEntries(found.flat()));
}

/** The one field that is described no further. */
const affinities = fc.oneof(
  fc.constantFrom(
    {},
    { nodeAffinity: {} },
    { nodeAffinity: null },
    { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [] } },
    { closeTo: 'me' },
    { nodeAffinity: { text: 'x'.repeat(16_384) } },
    JSON.parse('{"__proto__": {"a": 1}}') as object,
  ),
  fc.object({ maxDepth: 3 }),
);

function arrays(schema: SchemaNode, wrong: number): fc.Arbitrary<unknown> {
  const { items = {}, minItems = 0, maxItems = 8, 'x-kubernetes-list-type': list } = schema;
  const item = valuesOf(items, wrong);
  if (list === 'set' || list === 'map') {
    const selector = list === 'map' ? keyOfItem : (value: unknown) => value;
    const few = fc.uniqueArray(item, { minLength: minItems, maxLength: Math.min(maxItems, minItems + 3), selector });
    return wrong === 0 ? few : fc.oneof({ weight: 9, arbitrary: few }, fc.array(item, { maxLength: 3 }));
  }
  const few = fc.array(item, { minLength: minItems, maxLength: Math.min(maxItems, minItems + 2) });
  const most = fc.array(item, { minLength: maxItems, maxLength: maxItems });
  return fc.oneof({ weight: 30, arbitrary: few }, { weight: 1, arbitrary: most });
}

/** Lists merged by key are so by name, or in conditions by type. */
function keyOfItem(item: unknown): unknown {
  const { name, type } = (item ?? {}) as { name?: unknown; type?: unknown };
  return name ?? type;
}

function texts(schema: SchemaNode, name: string): fc.Arbitrary<string> {
  const { format, maxLength = 64 } = schema;
  if (format === 'date-time') return dateTime;
  const matching = matchingTexts(schema);
  const longest = fc.constant('x'.repeat(maxLength));
  const known = Object.hasOwn(meaningful, name) ? meaningful[name] : undefined;
  if (!known) return fc.oneof({ weight: 20, arbitrary: matching }, longest);
  // Secrets have names as well as jobs: most of these should each be its own, or the policies overlap.
  const weight = maxLength > 63 && name === 'name' ? 1 : 40;
  return fc.oneof({ weight, arbitrary: known }, { weight: 4, arbitrary: matching }, longest);
}

function matchingTexts({ pattern, minLength = 0, maxLength = 64 }: SchemaNode): fc.Arbitrary<string> {
  const length = { minLength, maxLength: Math.min(maxLength, 64) };
  if (!pattern) return fc.string(length);
  const regex = new RegExp(pattern, 'u');
  // Of a class of Unicode fast-check first makes a map of all its characters, which takes seconds.
  if (pattern.includes('\\P{')) return fc.string({ unit: 'grapheme', ...length }).filter((text) => regex.test(text));
  return fc.stringMatching(regex).filter((text) => text.length >= minLength && text.length <= maxLength);
}

function integers({ minimum = 0, maximum = 2 ** 31 - 1 }: SchemaNode): fc.Arbitrary<number> {
  return fc.oneof(fc.integer({ min: minimum, max: maximum }), fc.constantFrom(minimum, maximum));
}

function wrongValues({ minimum = 0, maximum = 0, maxLength = 0, maxItems = 0 }: SchemaNode): fc.Arbitrary<unknown> {
  const pastEdges = fc.constantFrom<unknown>(
    minimum - 1,
    maximum + 1,
    'x'.repeat(maxLength + 1),
    Array(maxItems + 1).fill({}),
  );
  const otherTypes = fc.constantFrom<unknown>(
    null,
    true,
    'yes',
    '1',
    -0,
    1.5,
    1e308,
    2 ** 63,
    [],
    [null],
    {},
    { a: 1 },
  );
  return fc.oneof(pastEdges, otherTypes, oddText);
}
