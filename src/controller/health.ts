/** What the probes look at in an informer. */
export interface Watched {
  readonly kind: string;
  /** Undefined where it watches all namespaces. */
  readonly namespace?: string;
  readonly hasSynced: boolean;
  readonly silentMs: number;
  readonly sinceSuccessMs: number;
  /** The HTTP status of the newest failure, 0 where there was no answer; undefined after a success. */
  readonly failedWith: number | undefined;
}

/** A watch says something every minute, be it a bookmark or a failure; a first list of many pages may take longer. */
const longMs = 900_000;
/** Within it a watch that is well has said something, so that the API server is known to answer. */
const lateMs = 180_000;
/** No request of a reconcile lasts longer than 30 s. */
const stuckReconcileMs = 600_000;
/** A right or a kind that is missing: nothing that a restart could repair. */
const missing = new Set([401, 403, 404]);

/**
 * Why the controller should be restarted: it is stuck, or for a quarter of an hour could not read one kind while it could
 * read another. While the API server is away, or a right or a CRD missing, a restart would only do harm.
 */
export function unhealthy(watches: Watched[], longestReconcileMs: number): string[] {
  const answered = watches.some(({ sinceSuccessMs }) => sinceSuccessMs < lateMs);
  const reasons = watches.flatMap((watch) => {
    if (watch.silentMs > longMs) return `the watch of ${what(watch)} is stalled`;
    const failing = answered && watch.sinceSuccessMs > longMs && !missing.has(watch.failedWith ?? 0);
    return failing ? `${what(watch)} could not be listed or watched ${sinceOf(watch)}` : [];
  });
  return longestReconcileMs > stuckReconcileMs ? [...reasons, 'a reconciliation is stuck'] : reasons;
}

/** What is missing of each namespace that cannot be worked in; `undefined` is the key where all namespaces are one. */
export function unavailable(watches: Watched[]): Map<string | undefined, string[]> {
  const reasons = watches.flatMap((watch) => {
    const why = whyUnavailable(watch);
    return why === undefined ? [] : [{ namespace: watch.namespace, why }];
  });
  const byNamespace = Map.groupBy(reasons, ({ namespace }) => namespace);
  return new Map([...byNamespace].map(([namespace, each]) => [namespace, each.map(({ why }) => why)]));
}

/**
 * Why the controller does no work: in none of its namespaces can it. Where it can in some, it is ready, and `remarks` says
 * what is the matter with the others: one namespace that was deleted must not make a controller of ten look dead.
 */
export function readiness(watches: Watched[]): { notReady: string[]; remarks: string[] } {
  const namespaces = new Set(watches.map(({ namespace }) => namespace));
  const without = unavailable(watches);
  const reasons = [...without.values()].flat();
  return without.size < namespaces.size ? { notReady: [], remarks: reasons } : { notReady: reasons, remarks: [] };
}

function whyUnavailable(watch: Watched): string | undefined {
  const because = watch.failedWith ? ` (${watch.failedWith})` : '';
  if (!watch.hasSynced) return `no list of ${what(watch)}${because}`;
  return watch.sinceSuccessMs > longMs ? `no news of ${what(watch)} ${sinceOf(watch)}${because}` : undefined;
}

function what({ kind, namespace }: Watched): string {
  return namespace === undefined ? kind : `${kind} in namespace ${namespace}`;
}

function sinceOf({ sinceSuccessMs }: Watched): string {
  return `for ${Math.floor(sinceSuccessMs / 60_000)} minutes`;
}
