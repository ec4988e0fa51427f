import type pg from 'pg';
import type { z } from 'zod';
import { guardDefaults, type guardSchema } from '../api/spec.ts';
import { withMargin } from './budget.ts';
import { type Changes, destroyed, type Operation } from './operation.ts';

export type Guard = z.output<typeof guardSchema>;

/** An operation and what it would change; nothing where it cannot run. */
export interface Due {
  operation: Operation;
  changes: Changes;
}

/** Why a run must change nothing, and what to do about it: parts of its message, without full stop. */
export interface Violation {
  why: string;
  remedy: string;
}

/** What the guard says to the counted rows. */
export interface Verdict {
  violation: Violation | undefined;
  /** Rows that each operation may change, those included that become due after the count. */
  allowed: ReadonlyMap<Operation, number>;
}

/** So many connections may always be closed: after a night's outage of a small site all of them may be stale. */
const connectionsAlwaysAllowed = 100;

const remedy =
  'If that many are meant to go, raise spec.guard (by hand, in a file for --file); otherwise check the periods of the policy';
const number = new Intl.NumberFormat('en-US');

/** Compares what was counted with the limits; reads no more of each table than decides. */
export async function guardVerdict(client: pg.Client, guard: Guard, due: readonly Due[]): Promise<Verdict> {
  const allowed = new Map<Operation, number>();
  const { maxPercentOfConnections = guardDefaults.maxPercentOfConnections } = guard;
  const total = due.reduce((sum, { changes }) => sum + destroyed(changes), 0);
  if (total > guard.maxRowsPerRun) {
    const parts = due
      .filter(({ changes }) => destroyed(changes) > 0)
      .map(({ operation, changes }) => `${operation.name} ${number.format(destroyed(changes))}`);
    const why = `${number.format(total)} rows are due to be deleted or archived (${parts.join(', ')}), more than guard.maxRowsPerRun ${number.format(guard.maxRowsPerRun)}`;
    return { violation: { why, remedy }, allowed };
  }
  for (const { operation, changes } of due) {
    const closed = changes.closed ?? 0;
    const share =
      closed > 0
        ? await shareOf(client, operation, closed, maxPercentOfConnections, connectionsAlwaysAllowed)
        : await shareOf(client, operation, destroyed(changes), guard.maxPercentOfTable, 0);
    if ('allowed' in share) {
      allowed.set(operation, share.allowed);
      continue;
    }
    const [rows, action, limit] =
      closed > 0
        ? ['active connections', 'closed', `maxPercentOfConnections ${maxPercentOfConnections}`]
        : ['rows with something to lose', 'deleted or archived', `maxPercentOfTable ${guard.maxPercentOfTable}`];
    const counts = `${number.format(share.due)} of ${number.format(share.size)} ${rows} (${share.percent}%)`;
    const why = `${operation.name}: ${counts} are due to be ${action}, more than guard.${limit}`;
    return { violation: { why, remedy }, allowed };
  }
  return { violation: undefined, allowed };
}

type Share = { allowed: number } | { due: number; size: number; percent: number };

/**
 * How many rows an operation may change by its share of those that still have something to lose: archived rows, which
 * stay for years, must not make room for a mistake. Over the limit, what the share is.
 */
async function shareOf(
  client: pg.Client,
  operation: Operation,
  due: number,
  maxPercent: number,
  alwaysAllowed: number,
): Promise<Share> {
  const wanted = withMargin(due);
  if (due === 0 || maxPercent === 100) return { allowed: wanted };
  const sizeFor = (rows: number) => Math.ceil((rows * 100) / maxPercent);
  // Rows beyond these change nothing; counting no further keeps the cost with the rows due.
  const limit = sizeFor(wanted);
  let size = 0;
  for (const from of operation.atStake) {
    if (size < sizeFor(due)) size += await countUpTo(client, from, limit - size);
  }
  const withinShare = size >= limit ? wanted : Math.floor((size * maxPercent) / 100);
  const allowed = Math.max(withinShare, alwaysAllowed);
  if (due <= allowed) return { allowed: Math.min(wanted, allowed) };
  return { due, size, percent: Math.round((due * 1000) / size) / 10 };
}

async function countUpTo(client: pg.Client, from: string, limit: number): Promise<number> {
  const { rows } = await client.query<{ count: string }>(
    `select count(*) as count from (select from ${from} limit $1) counted`,
    [limit],
  );
  return Number(rows[0]!.count);
}
