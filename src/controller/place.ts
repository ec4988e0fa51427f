import { group, kind } from '../api/policy.ts';
import { isNotFound, unlessNotFound } from '../kubernetes/api-error.ts';
import type { ApplyConfiguration, Client } from '../kubernetes/client.ts';
import type { KubernetesObject, ObjectRef, Resource } from '../kubernetes/types.ts';
import { denied, invalid } from './blame.ts';
import type { Problem } from './conditions.ts';
import type { Contested } from './contested.ts';
import type { Desired } from './desired.ts';
import {
  attemptOf,
  contestedKey,
  differencesOf,
  type ForeignChanges,
  foreignChanges,
  type Wanted,
} from './foreign-changes.ts';
import { fieldManager } from './names.ts';
import { type CronJob, isControlledBy, type Policy, resources } from './objects.ts';
import { isAdoptable } from './orphans.ts';
import type { OwnWrites } from './own-writes.ts';
import type { Refusals } from './refusals.ts';

/** Where the controller finds an object that it may have made. */
type Lookup = <T extends KubernetesObject>(resource: Resource<T>, ref: ObjectRef) => T | undefined;

export interface PlaceContext {
  client: Client;
  ownWrites: OwnWrites;
  refusals: Refusals;
  contested: Contested;
  /** Finds what the caches know. */
  lookup: Lookup;
  /** Told of each change that was made. */
  changed(verb: 'Created' | 'Updated' | 'Suspended' | 'Deleted', object: KubernetesObject): void;
  /** Told once when others have begun to undo what was written again and again. */
  undone(message: string): void;
}

/** Something that only a change of the policy, or of what is in its way, can repair. */
export class StalledError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem, cause?: unknown) {
    super(problem.message, { cause });
    this.problem = problem;
  }
}

/** Something that goes by itself, but of which no watch tells. */
export class WaitingError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

/**
 * Makes what is wanted exist. Writes nothing where nothing differs, nor what others keep changing back. Throws a StalledError,
 * with nothing changed, for a name that somebody else has and for what the API server refuses as invalid; a
 * WaitingError or an ApiError for what may succeed later.
 */
export async function place(
  context: PlaceContext,
  owner: Policy,
  { cronJobs, serviceAccount, role, roleBinding }: Desired,
): Promise<ForeignChanges & { cronJobs: CronJob[] }> {
  // CronJobs first: what a policy says is in them alone, and they are what people wait for. A run that starts in the moment
  // before its account is there is tried again by the Job controller.
  const objects: [Resource<KubernetesObject>, KubernetesObject][] = [
    ...cronJobs.map((cronJob): [Resource<KubernetesObject>, KubernetesObject] => [resources.cronJobs, cronJob]),
    [resources.serviceAccounts, serviceAccount],
    [resources.roles, role],
    [resources.roleBindings, roleBinding],
  ];
  const found = await Promise.allSettled(
    objects.map(async ([resource, object]) => {
      const live = await findOwn(context, owner, resource, object);
      return { resource, object, live, differences: differencesOf(object, live) };
    }),
  );
  // Of several obstacles always the same is told.
  const obstacle = found.find(({ status }) => status === 'rejected');
  if (obstacle?.status === 'rejected') throw obstacle.reason;
  const wanted: Wanted[] = found.flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
  const changes = wanted.filter((item) => {
    return item.differences.length > 0 && context.contested.waitMs(attemptOf(item)) === 0;
  });
  const refused = context.refusals.of(owner, changes);
  if (refused) throw new StalledError(refused);
  try {
    // Several CronJobs are tried first, so that nothing is half done when one of them is refused.
    const tried = changes.filter(({ object }) => object.kind === 'CronJob');
    if (tried.length > 1) for (const change of tried) await apply(context, owner, change, { dryRun: true });
    const inPlace: Wanted[] = [];
    for (const item of wanted) inPlace.push(changes.includes(item) ? await write(context, owner, item) : item);
    const placed = inPlace.flatMap(({ live }) => (live?.kind === 'CronJob' ? [live as CronJob] : []));
    return { cronJobs: placed, ...(await foreignChanges(context, inPlace)) };
  } catch (error) {
    if (error instanceof StalledError) context.refusals.remember(owner, changes, error.problem);
    throw error;
  }
}

/** Writes it; with what is there then. */
async function write(context: PlaceContext, owner: Policy, item: Wanted): Promise<Wanted> {
  const attempt = attemptOf(item);
  const triedAgain = context.contested.isTriedAgain(attempt);
  const live = await apply(context, owner, item);
  const written = { ...item, live, differences: differencesOf(item.object, live) };
  context.ownWrites.record(live);
  const { differs } = attemptOf(written);
  context.contested.wrote(attempt, differs);
  const isAnother = live.metadata.resourceVersion !== item.live?.metadata.resourceVersion;
  const inVain = context.contested.isQuarrel(attempt) || (triedAgain && differs === attempt.differs);
  // Of these the condition tells: an Event of each write would be one without end.
  if (isAnother && !inVain) context.changed(item.live ? 'Updated' : 'Created', live);
  return written;
}

/**
 * Suspends these CronJobs by a patch of that field alone, since the rest may be what is refused. Tries all of them;
 * returns those that are there, and the first failure.
 */
export async function suspend(
  { client, ownWrites, contested, changed }: PlaceContext,
  cronJobs: CronJob[],
): Promise<{ cronJobs: CronJob[]; error?: unknown }> {
  const found: CronJob[] = [];
  const errors: unknown[] = [];
  for (const cronJob of cronJobs.map((each) => ownWrites.newest(each))) {
    if (cronJob.spec?.suspend) {
      found.push(cronJob);
      continue;
    }
    const patch = { metadata: { uid: cronJob.metadata.uid }, spec: { suspend: true } };
    try {
      const suspended = await client.mergePatch(resources.cronJobs, cronJob.metadata, patch, { fieldManager });
      ownWrites.record(suspended);
      contested.forget(contestedKey(suspended));
      changed('Suspended', suspended);
      found.push(suspended);
    } catch (error) {
      if (isNotFound(error)) continue;
      found.push(cronJob);
      errors.push(error);
    }
  }
  return { cronJobs: found, error: errors[0] };
}

/**
 * The object of that name as it is. The informers see only what carries our label, and may still show an orphan that was
 * deleted just now: absence is looked up.
 */
async function findOwn(
  { client, lookup }: PlaceContext,
  owner: Policy,
  resource: Resource<KubernetesObject>,
  object: KubernetesObject,
): Promise<KubernetesObject | undefined> {
  const ref = object.metadata;
  const cached = lookup(resource, ref);
  if (cached && isControlledBy(cached, owner.uid)) return cached;
  const live = await client.get(resource, ref).catch(unlessNotFound);
  if (!live || isControlledBy(live, owner.uid) || isAdoptable(live, object)) return live;
  const controller = live.metadata.ownerReferences?.find((reference) => reference.controller);
  if (controller?.kind === kind && controller.apiVersion.startsWith(`${group}/`) && controller.name === owner.name) {
    throw new WaitingError({
      reason: 'FormerPolicyRemains',
      message: `Waiting for the garbage collector to remove what the former policy of this name left: ${resource.kind} ${ref.name}`,
    });
  }
  const whose = controller ? `belongs to ${controller.kind} ${controller.name}` : 'was made by somebody else';
  throw new StalledError({
    reason: 'NameConflict',
    message: `The policy needs the name of ${resource.kind} ${ref.name}, which ${whose}: remove that one, or rename the policy or its job`,
  });
}

async function apply(
  { client }: PlaceContext,
  owner: Policy,
  { resource, object }: Wanted,
  { dryRun = false } = {},
): Promise<KubernetesObject> {
  try {
    const configuration = object as ApplyConfiguration<KubernetesObject>;
    return await client.apply(resource, configuration, { fieldManager, force: true, dryRun });
  } catch (error) {
    const waiting = denied(error);
    if (waiting) throw new WaitingError(waiting);
    // Nothing in the others comes from the policy.
    const problem = object.kind === 'CronJob' ? invalid(error, owner.spec) : undefined;
    throw problem ? new StalledError(problem, error) : error;
  }
}

/** Deletes a CronJob of the policy's. */
export async function remove({ client, contested, changed }: PlaceContext, cronJob: CronJob): Promise<void> {
  const { uid } = cronJob.metadata;
  await client.delete(resources.cronJobs, cronJob.metadata, { uid }).catch(unlessNotFound);
  contested.forget(contestedKey(cronJob));
  changed('Deleted', cronJob);
}
