import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { escapeIdentifier } from 'pg';
import { bytes } from '../api/byte-quantity.ts';
import { ConfigurationError } from '../database/config.ts';
import type { Session, TransactionSettings } from '../database/session.ts';
import type { RunOptions } from './options.ts';

const lookEveryMs = 1_000;

/** Holds a run back while a standby or a replication slot is further behind than limits.maxReplicationLag. */
export interface ReplicationBrake {
  /** Who holds the run back, and by how much, as part of a sentence; undefined while nobody does. */
  heldBackBy: string | undefined;
  /**
   * To be called outside a transaction. Looks at most once a second, so that small batches do not pay for it. Ends when
   * nobody is too far behind or `stop` is aborted; an error of the database is thrown.
   */
  wait(stop: AbortSignal): Promise<void>;
}

/** The brake of one run; `limit` is an amount of bytes such as `256Mi`. */
export function replicationBrake(
  session: Session,
  settings: TransactionSettings,
  limit: string,
  log: RunOptions['log'],
): ReplicationBrake {
  let nextLook = 0;
  const brake: ReplicationBrake = {
    heldBackBy: undefined,
    async wait(stop) {
      if (performance.now() < nextLook) return;
      while (!stop.aborted) {
        const laggard = await session.transaction(settings, (client) => furthestBehind(client, bytes(limit)));
        if (laggard === undefined) break;
        if (brake.heldBackBy === undefined) log.warn({ ...laggard, limit }, 'waiting for replication');
        brake.heldBackBy = `${sentenceOf(laggard)}, more than limits.maxReplicationLag ${limit}`;
        await sleep(lookEveryMs, undefined, { signal: stop }).catch(() => {});
      }
      if (stop.aborted) return;
      if (brake.heldBackBy !== undefined) log.info({ limit }, 'replication has caught up');
      brake.heldBackBy = undefined;
      nextLook = performance.now() + lookEveryMs;
    },
  };
  return brake;
}

interface Laggard {
  kind: 'standby' | 'slot';
  name: string;
  bytes: string;
}

function sentenceOf({ kind, name, bytes: behind }: Laggard): string {
  const amount = `${Math.ceil(Number(behind) / 2 ** 20)}Mi`;
  return kind === 'standby'
    ? `standby "${name}" is ${amount} behind in replay`
    : `replication slot "${name}" retains ${amount} of WAL`;
}

/**
 * Who is furthest behind, if anybody by more than `maxBytes`. Logical walsenders count by what their subscriber has
 * applied. Not counted, since they hold nothing up: a walsender that replays nothing (a base backup, an archiver of
 * WAL; their slots count) or has not reported yet, and a slot that reserves no WAL or has lost it. A standby of a
 * standby is not known here.
 */
async function furthestBehind(client: pg.Client, maxBytes: number): Promise<Laggard | undefined> {
  const { rows } = await client.query<Laggard>(
    `select behind.kind, behind.name, behind.bytes
       from (select 'standby' as kind,
                    concat_ws(' at ', application_name, host(client_addr)) as name,
                    pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) as bytes
               from pg_stat_replication
              union all
             select 'slot', slot_name::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)
               from pg_replication_slots
              where wal_status is distinct from 'lost') behind
      where behind.bytes > $1::numeric
      order by behind.bytes desc
      limit 1`,
    [maxBytes],
  );
  return rows[0];
}

/** Without pg_read_all_stats every column of pg_stat_replication is NULL, and the limit would hold nothing back, unseen. */
export async function checkReplicationVisible(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ visible: boolean }>(
    `select pg_has_role('pg_read_all_stats', 'usage') as visible`,
  );
  if (rows[0]!.visible) return;
  throw new ConfigurationError(
    `limits.maxReplicationLag: the run's role cannot see how far standbys are behind: grant pg_read_all_stats to it (\`retention grants\` prints it), or leave the limit out`,
  );
}

/** The statement that lets a role see replication, without semicolon. */
export function grantOfReplication(role: string): string {
  return `grant pg_read_all_stats to ${escapeIdentifier(role)}`;
}
