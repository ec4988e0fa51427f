import type { Client } from '../kubernetes/client.ts';
import { applyDifferences, type Difference } from '../kubernetes/equality.ts';
import { type KubernetesObject, keyOf, type Resource } from '../kubernetes/types.ts';
import type { Problem } from './conditions.ts';
import type { Attempt, Contested } from './contested.ts';
import { fieldManager } from './names.ts';

/** Something that should be there, what is there, and in what that differs. */
export interface Wanted {
  resource: Resource<KubernetesObject>;
  object: KubernetesObject;
  live: KubernetesObject | undefined;
  differences: Difference[];
}

/** What others make of what the controller writes. */
export interface ForeignChanges {
  /** Why it is not in place. */
  problem?: Problem;
  /** What may remain, since a run does the same. */
  remark?: string;
  /** In how many milliseconds to look at it again. */
  againMs?: number;
}

/** Reasons of Ready for which others hold what the controller wrote. */
export const contestedReasons = new Set(['Reverted', 'ChangedByAdmission']);

/** In what an object differs from what is wanted; one that is missing differs as a whole. */
export function differencesOf(object: KubernetesObject, live: KubernetesObject | undefined): Difference[] {
  if (!live) return [{ path: '', wanted: object, found: undefined, owned: false }];
  return [...applyDifferences(object, live, { fieldManager })];
}

export function attemptOf({ object, live, differences }: Pick<Wanted, 'object' | 'live' | 'differences'>): Attempt {
  const { spec } = object as { spec?: object };
  return {
    key: contestedKey(object),
    // The starting deadline follows the time of day, and no quarrel ends by it.
    content: spec ? { ...object, spec: { ...spec, startingDeadlineSeconds: undefined } } : object,
    differs: live ? differences.map(({ path }) => path).join() : 'missing',
  };
}

export function contestedKey({ kind, metadata }: KubernetesObject): string {
  return `${kind} ${keyOf(metadata)}`;
}

/** What to say of these, after all was written that may be; `undone` is told once when a quarrel begins. */
export async function foreignChanges(
  { client, contested, undone }: { client: Client; contested: Contested; undone(message: string): void },
  items: Wanted[],
): Promise<ForeignChanges> {
  const problems: Problem[] = [];
  const remarks: string[] = [];
  const waits: number[] = [];
  for (const item of items) {
    const attempt = attemptOf(item);
    const { differences } = item;
    const quarrel = await contested.quarrel(attempt, async () => {
      const message = await quarrelWords(client, item);
      undone(message);
      return message;
    });
    if (differences.length > 0) waits.push(contested.waitMs(attempt));
    if (quarrel) {
      waits.push(quarrel.overMs);
      problems.push({ reason: 'Reverted', message: quarrel.message });
    } else if (differences.some(changesRuns)) {
      problems.push({ reason: 'ChangedByAdmission', message: `Changed by admission: ${namesOf(item)}` });
    } else if (differences.length > 0) {
      remarks.push(`Changed by admission: ${namesOf(item)}`);
    }
  }
  const message = problems.map((problem) => problem.message).join('; ');
  return {
    problem: problems[0] && { reason: problems[0].reason, message },
    remark: remarks.length > 0 ? remarks.join('; ') : undefined,
    againMs: waits.length > 0 ? Math.min(...waits) : undefined,
  };
}

/** The fields in which an object differs from what is wanted of it, with values that are nobody's secret. */
export function namesOf({ object, differences }: Pick<Wanted, 'object' | 'differences'>): string {
  const names = differences.slice(0, 8).map(({ path, found }) => {
    const name = path.slice(1);
    const isShown = shown.test(path) && ['string', 'boolean', 'number'].includes(typeof found);
    return isShown ? `${name} is ${JSON.stringify(found).slice(0, 200)}` : name;
  });
  const more = differences.length > names.length ? [`${differences.length - names.length} more`] : [];
  return `${object.kind} ${object.metadata.name} (${[...names, ...more].join(', ')})`;
}

/** Never a value of the environment or of an annotation: others may have put anything there. */
const shown = /^\.spec\.(suspend|schedule|timeZone|concurrencyPolicy)$|\]\.(image|imagePullPolicy)$/;

/** Where and with what a Pod runs; what it does is the same. */
const circumstances =
  /^(\.metadata|\.spec\.jobTemplate\.metadata|(\.spec\.jobTemplate)?\.spec\.template\.metadata)\.(labels|annotations)\b|^(\.spec\.jobTemplate)?\.spec\.template\.spec\.(nodeSelector|tolerations|affinity|priorityClassName|runtimeClassName|imagePullSecrets|securityContext|containers\[runner\]\.(resources|securityContext|imagePullPolicy))\b|^\.spec\.(successful|failed)JobsHistoryLimit$/;

/** Labels and annotations by which the controller knows what is its own: a Job without them cannot be stopped, or is taken for outdated. */
const own =
  /\.metadata\.(labels|annotations)\.retention\.agentdata\.io\/|\.metadata\.labels$|(^|\.jobTemplate)\.metadata\.annotations$/;

/** Whether runs do, or may do, something else by this difference. A copy of the image in another registry has its name and tag. */
export function changesRuns({ path, wanted, found }: Difference): boolean {
  if (own.test(path)) return true;
  if (/\.containers\[runner\]\.image$/.test(path)) return lastPart(wanted) !== lastPart(found);
  return !circumstances.test(path);
}

function lastPart(image: unknown): string {
  return String(image).replace(/^.*\//, '');
}

async function quarrelWords(client: Client, { resource, object, live, differences }: Wanted): Promise<string> {
  const which = `${object.kind} ${object.metadata.name}`;
  if (!live)
    return `${which} is deleted each time it is created: find out by whom, and let only one of the two manage it`;
  const fields = [...new Set(differences.map(({ path }) => path.slice(1)))].slice(0, 8).join(', ');
  const others = differences.every(({ owned }) => owned) ? [] : await client.writers(resource, object.metadata);
  const other = others.find((name) => name !== fieldManager);
  return other === undefined
    ? `${which} (${fields}) is changed back each time it is written, by another retention controller: only one may work in a namespace`
    : `${which} (${fields}) is changed back each time it is written, by field manager ${other}: let only one of the two manage it`;
}
