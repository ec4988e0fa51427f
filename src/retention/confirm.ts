import type pg from 'pg';
import type { Applied } from '../api/applied.ts';
import type { EffectiveRetention } from '../api/effective.ts';
import type { CleanupOperation } from '../api/spec.ts';
import { countDue } from './count.ts';
import type { Due, Guard, Violation } from './guard.ts';
import { type Operation, rowsOf } from './operation.ts';
import type { RunOptions } from './options.ts';

type Confirm = NonNullable<Guard['confirm']>;
type Period = Exclude<keyof Confirm, 'statuses'>;

/** The values by which each operation's rows are due. */
const valuesOf: Record<CleanupOperation, { period: Period; statuses?: keyof EffectiveRetention['statuses'] }> = {
  connections: { period: 'connectionCleanupHours' },
  instructions: { period: 'instructionRetentionDays', statuses: 'instructions' },
  sessions: { period: 'completedSessionRetentionDays', statuses: 'sessions' },
  acknowledgements: { period: 'acknowledgementRetentionDays' },
};

/** Values that make rows due which those of the last successful run did not. */
interface Shortened {
  /** The values as guard.confirm must name them. */
  confirm: Confirm;
  /** What was changed, for people. */
  words: string[];
  /** The new values, with the former ones in place of these. */
  former: EffectiveRetention;
}

/**
 * Whether values of the policy take more than those under which runs have last succeeded, without being confirmed by their
 * very value in guard.confirm. However few rows that makes due now: once applied, the new value would not be asked for again. `countedWith` gives the operations that some other values make.
 */
export async function unconfirmed(
  client: pg.Client,
  { retention, applied, guard }: Pick<RunOptions, 'retention' | 'applied' | 'guard'>,
  due: readonly Due[],
  countedWith: (retention: EffectiveRetention) => Promise<Record<CleanupOperation, Operation>>,
): Promise<Violation | undefined> {
  const whys: string[] = [];
  let confirm: Confirm = guard.confirm ?? {};
  for (const { operation, changes } of due) {
    const shortened = shortenedFor(operation.name, retention, applied ?? {}, guard.confirm ?? {});
    if (shortened === undefined) continue;
    const before = rowsOf(await countDue(client, (await countedWith(shortened.former))[operation.name]));
    const now = rowsOf(changes);
    whys.push(
      `${operation.name}: ${number.format(now)} rows are due instead of ${number.format(before)} by ${shortened.words.join(' and ')}`,
    );
    confirm = withStatuses(confirm, shortened.confirm);
  }
  if (whys.length === 0) return undefined;
  return {
    why: `${whys.join('; ')}, under which runs have succeeded. To confirm it, write in spec.guard: ${yamlOf(confirm)}`,
    remedy: 'Otherwise restore the former values',
  };
}

const number = new Intl.NumberFormat('en-US');

/** The operation's values that were shortened or widened and are not confirmed; undefined if there are none. */
function shortenedFor(
  name: CleanupOperation,
  retention: EffectiveRetention,
  applied: Applied,
  confirmed: Confirm,
): Shortened | undefined {
  const { period, statuses } = valuesOf[name];
  const words: string[] = [];
  let confirm: Confirm = {};
  let former = retention;
  const [now, before] = [retention[period], applied[period]];
  if (before !== undefined && now < before && confirmed[period] !== now) {
    words.push(`${period} ${now} instead of ${before}`);
    confirm = { [period]: now };
    former = { ...former, [period]: before };
  }
  const listed = statuses === undefined ? undefined : applied.statuses?.[statuses];
  if (statuses !== undefined && listed !== undefined) {
    const wanted = retention.statuses[statuses];
    const added = wanted.filter((status) => !listed.includes(status));
    if (added.length > 0 && !sameSet(wanted, confirmed.statuses?.[statuses] ?? [])) {
      words.push(`statuses.${statuses} with ${added.map((status) => JSON.stringify(status)).join(', ')} too`);
      confirm = { ...confirm, statuses: { [statuses]: wanted } };
      const kept = wanted.filter((status) => listed.includes(status));
      former = { ...former, statuses: { ...former.statuses, [statuses]: kept } };
    }
  }
  return words.length === 0 ? undefined : { confirm, words, former };
}

const sameSet = (a: readonly string[], b: readonly string[]) =>
  a.length === b.length && a.every((each) => b.includes(each));

function withStatuses(a: Confirm, b: Confirm): Confirm {
  const statuses = { ...a.statuses, ...b.statuses };
  return { ...a, ...b, ...(Object.keys(statuses).length === 0 ? {} : { statuses }) };
}

/** The lines of YAML, as one. */
function yamlOf({ statuses, ...periods }: Confirm): string {
  const lists = Object.entries(statuses ?? {}).map(([name, list]) => `${name}: ${JSON.stringify(list)}`);
  const parts = [
    ...Object.entries(periods).map(([name, value]) => `${name}: ${value}`),
    ...(lists.length === 0 ? [] : [`statuses: {${lists.join(', ')}}`]),
  ];
  return `confirm: {${parts.join(', ')}}`;
}
