import { createHash } from 'node:crypto';
import type { KubernetesObject } from '../kubernetes/types.ts';
import type { Problem } from './conditions.ts';
import type { Policy } from './objects.ts';

/** Shorter than the time between two relists, each of which therefore tries again: an admission webhook may have changed. */
const rememberedMs = 300_000;

/** What would be sent, and what is there. */
type Change = { object: KubernetesObject; live: KubernetesObject | undefined };

/** What the API server refused as invalid: the same is not sent again and again. One for each policy. */
export class Refusals {
  readonly #known = new Map<string, { attempt: string; problem: Problem; until: number }>();
  readonly #now: () => Date;

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** Why these changes were refused a while ago; undefined where they, the policy or what is there is another now. */
  of(policy: Policy, changes: Change[]): Problem | undefined {
    const known = this.#known.get(policy.uid);
    if (known && known.attempt === hash(policy, changes) && this.#now().getTime() < known.until) return known.problem;
    this.#known.delete(policy.uid);
    return undefined;
  }

  remember(policy: Policy, changes: Change[], problem: Problem): void {
    const until = this.#now().getTime() + rememberedMs;
    for (const [uid, known] of this.#known) if (known.until <= this.#now().getTime()) this.#known.delete(uid);
    this.#known.set(policy.uid, { attempt: hash(policy, changes), problem, until });
  }
}

/** Suspending what is there, as is done to a policy that is refused, makes no difference. */
function hash({ generation }: Policy, changes: Change[]): string {
  const parts = changes.map(({ object, live }) => {
    const { spec } = (live ?? {}) as { spec?: object };
    return [object, live?.metadata.uid, spec && { ...spec, suspend: undefined }];
  });
  return createHash('sha256')
    .update(JSON.stringify([generation, parts]))
    .digest('hex');
}
