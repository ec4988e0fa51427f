import { readFile } from 'node:fs/promises';
import { type Document, parseAllDocuments } from 'yaml';
import { effectiveRetention } from '../api/effective.ts';
import { explain, kind, retentionPolicySchema } from '../api/policy.ts';
import { cleanupOperations } from '../api/spec.ts';
import { ConfigurationError } from '../database/config.ts';
import type { CommandLinePolicy } from './policy.ts';

/** The one RetentionPolicy of a YAML file; `schema` overrides its own. ConfigurationError where it holds none, or a bad one. */
export async function policyFromFile(file: string, schema: string | undefined): Promise<CommandLinePolicy> {
  const document = await onlyPolicyIn(file);
  const parsed = retentionPolicySchema.safeParse(document);
  if (!parsed.success) throw new ConfigurationError(`--file ${file}: ${explain(parsed.error, document)}`);
  const { spec } = parsed.data;
  const wanted = new Set(spec.jobs?.flatMap((job) => job.operations) ?? cleanupOperations);
  return {
    operations: cleanupOperations.filter((name) => wanted.has(name)),
    retention: effectiveRetention(spec),
    schema: schema ?? spec.database.schema,
    timestampTimeZone: spec.database.timestampTimeZone,
    dryRun: spec.dryRun,
    guard: spec.guard,
    limits: spec.limits,
    tlsMode: spec.database.tls?.mode,
  };
}

async function onlyPolicyIn(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch((cause) => {
    throw new ConfigurationError(`--file ${file} cannot be read: ${(cause as Error).message}`, { cause });
  });
  const documents = parseAllDocuments(text);
  const broken = [...documents].flatMap((document) => document.errors)[0];
  if (broken !== undefined)
    throw new ConfigurationError(`--file ${file} is not YAML: ${broken.message.split('\n')[0]}`);
  const policies = [...documents]
    .map((document) => contentOf(document, file) as { kind?: unknown } | null)
    .filter((document) => document?.kind === kind);
  if (policies.length !== 1) {
    throw new ConfigurationError(`--file ${file} must hold one ${kind}; it holds ${policies.length}`);
  }
  return policies[0];
}

/** What a document says; an alias without its anchor, or far too many of them, shows up only here. */
function contentOf(document: Document.Parsed, file: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    throw new ConfigurationError(`--file ${file} cannot be used: ${(cause as Error).message.split('\n')[0]}`, {
      cause,
    });
  }
}
