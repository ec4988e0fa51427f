import type pg from 'pg';
import type { EffectiveRetention } from '../api/effective.ts';
import type { CleanupOperation } from '../api/spec.ts';
import { acknowledgements } from './acknowledgements.ts';
import type { ColumnTypes } from './catalog.ts';
import { connections } from './connections.ts';
import { instructions } from './instructions.ts';
import type { Operation, Scope } from './operation.ts';
import { sessions } from './sessions.ts';
import { tableNames } from './tables.ts';

/** The database's clock, UTC with microseconds: `YYYY-MM-DDTHH:MM:SS.ffffffZ`. */
export async function readClock(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ instant: string }>(
    `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as instant`,
  );
  return rows[0]!.instant;
}

/**
 * The instant less some hours (a day is always 24), as text of a column's type: for a timestamp without time zone in
 * the zone it was written in. Where clocks are put back after it, an hour comes twice: then the earliest that they have
 * shown since, because what was written in the second one must not be taken for the first.
 */
async function before(
  client: pg.Client,
  instant: string,
  hours: number,
  type: string,
  timeZone: string,
): Promise<string> {
  const { rows } = await client.query<{ cutoff: string }>(
    type === 'timestamp with time zone'
      ? 'select ($1::timestamptz - make_interval(hours => $2))::text as cutoff'
      : `select min((c.instant + minutes * interval '1 minute') at time zone $3)::text as cutoff
           from (select $1::timestamptz - make_interval(hours => $2) as instant) c
          cross join generate_series(0, least($2::int * 60, 180)) minutes`,
    type === 'timestamp with time zone' ? [instant, hours] : [instant, hours, timeZone],
  );
  return rows[0]!.cutoff;
}

/** The operations with their cutoffs, all counted from one instant. */
export async function operationsAt(
  client: pg.Client,
  scope: Scope,
  types: ColumnTypes,
  timeZone: string,
): Promise<Record<CleanupOperation, Operation>> {
  const { retention, instant } = scope;
  const at = (table: string, column: string, hours: number) =>
    before(client, instant, hours, types.get(`${table}.${column}`) ?? '', timeZone);
  const days = (period: keyof EffectiveRetention) => Number(retention[period]) * 24;
  const { connection, instruction, session, acknowledgement } = tableNames;
  return {
    connections: connections(
      scope,
      await at(connection, 'last_heartbeat_at', retention.connectionCleanupHours),
      await at(connection, 'closed_at', 0),
    ),
    instructions: instructions(scope, await at(instruction, 'created_at', days('instructionRetentionDays'))),
    sessions: sessions(scope, await at(session, 'ended_at', days('completedSessionRetentionDays'))),
    acknowledgements: acknowledgements(
      scope,
      await at(acknowledgement, 'created_at', days('acknowledgementRetentionDays')),
    ),
  };
}
