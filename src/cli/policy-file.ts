import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import type { z } from 'zod';
import { effectiveRetention } from '../api/effective.ts';
import { explain, group, kind, retentionPolicySchema, suspendedUntil } from '../api/policy.ts';
import { cleanupOperations, operationsOf } from '../api/spec.ts';
import { whyNeverFires } from '../controller/schedule.ts';
import { ConfigurationError } from '../database/config.ts';
import { manifestsIn } from './manifests.ts';
import type { CommandLinePolicy } from './policy.ts';

type RetentionPolicy = z.output<typeof retentionPolicySchema>;

/**
 * The one RetentionPolicy of a file, or of stdin (`-`), as a run applies it; `schema` overrides its own.
 * ConfigurationError where it holds none, several, or a bad one.
 */
export async function policyFromFile(file: string, schema: string | undefined): Promise<CommandLinePolicy> {
  const { metadata, spec } = policyIn(await textOf(file), file);
  const never = whyNeverFires(spec);
  if (never) throw new ConfigurationError(`--file ${file}: ${never}`);
  const wanted = new Set((spec.jobs ?? [{}]).flatMap(operationsOf));
  return {
    operations: cleanupOperations.filter((name) => wanted.has(name)),
    retention: effectiveRetention(spec),
    schema: schema ?? spec.database.schema,
    timestampTimeZone: spec.database.timestampTimeZone,
    dryRun: spec.dryRun,
    guard: spec.guard,
    limits: spec.limits,
    // As on the cluster, where a CA that is given is looked at.
    tlsMode: spec.database.tls?.mode ?? (spec.database.tls?.caSecretRef && 'verify-full'),
    runsNothing: runsNothing(metadata, spec),
  };
}

/** Why the cluster starts no run of a policy; undefined where it does. */
function runsNothing(metadata: RetentionPolicy['metadata'], spec: RetentionPolicy['spec']): string | undefined {
  if (metadata.deletionTimestamp !== undefined)
    return 'the policy is being deleted (metadata.deletionTimestamp is set)';
  const until = suspendedUntil(metadata.annotations, spec.suspend);
  return until && `it is suspended until ${until}`;
}

/** The one RetentionPolicy of a text, as the API server would store it; `file` is where errors say it comes from. */
export function policyIn(text: string, file: string): RetentionPolicy {
  const document = withoutNulls(onlyPolicyIn(text, file));
  const parsed = retentionPolicySchema.safeParse(document);
  if (!parsed.success) throw new ConfigurationError(`--file ${file}: ${explain(parsed.error, document)}`);
  return parsed.data;
}

async function textOf(file: string): Promise<string> {
  const bytes = await (file === '-' ? buffer(process.stdin) : readFile(file)).catch((cause) => {
    throw new ConfigurationError(`--file ${file} cannot be read: ${(cause as Error).message}`, { cause });
  });
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ConfigurationError(`--file ${file} is not UTF-8`, { cause });
  }
}

function onlyPolicyIn(text: string, file: string): Manifest {
  const ofKind = objectsIn(text, file).filter((object) => object.kind === kind);
  const ours = ofKind.filter(({ apiVersion }) => String(apiVersion).startsWith(`${group}/`));
  // Without one of our group, what the file holds may be ours with a slip in it.
  const policies = ours.length > 0 ? ours : ofKind;
  const [policy] = policies;
  if (policies.length === 1 && policy !== undefined) return policy;
  const names = policies.length === 0 ? '' : `: ${policies.map(nameOf).join(', ')}`;
  throw new ConfigurationError(`--file ${file} must hold one ${kind}; it holds ${policies.length}${names}`);
}

const nameOf = (object: Manifest) => String(object.metadata?.name ?? 'one without a name');

/** The objects of a file, those in a list (`kind: List`) too. kubectl takes no list in a list. */
function objectsIn(text: string, file: string): Manifest[] {
  let manifests: unknown[];
  try {
    manifests = manifestsIn(text);
  } catch (cause) {
    throw new ConfigurationError(`--file ${file} cannot be used: ${(cause as Error).message}`, { cause });
  }
  return manifests
    .filter(isObject)
    .flatMap((manifest) =>
      Array.isArray(manifest.items) ? (manifest.items as unknown[]).filter(isObject) : [manifest],
    );
}

/** What is looked at of any object before it is known to be a policy. */
interface Manifest {
  apiVersion?: unknown;
  kind?: unknown;
  metadata?: { name?: unknown } | null;
  items?: unknown;
}

const isObject = (value: unknown): value is Manifest => typeof value === 'object' && value !== null;

/**
 * A field that is null is one that is not given: the API server leaves it out, or takes its default. It does so for
 * the fields that it knows, which are those whose null the schema refuses; null in a list stays, and is an error.
 */
function withoutNulls(document: object): object {
  const copy = structuredClone(document);
  for (const { path } of retentionPolicySchema.safeParse(copy).error?.issues ?? []) {
    const key = path.at(-1);
    const parent = path.slice(0, -1).reduce<unknown>((at, name) => (at as Record<PropertyKey, unknown>)?.[name], copy);
    if (key === undefined || typeof parent !== 'object' || parent === null || Array.isArray(parent)) continue;
    if ((parent as Record<PropertyKey, unknown>)[key] === null) Reflect.deleteProperty(parent, key);
  }
  return copy;
}
