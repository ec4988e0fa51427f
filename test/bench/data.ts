import type { Client } from 'pg';
import { presets } from '../../src/api/presets.ts';
import { generate } from '../support/data/generator.ts';
import { loadSchema } from '../support/postgres/schema.ts';

/** Rows of each size; about as many acknowledgements as instructions. XS is for trying out the bench itself. */
export const sizes = {
  XS: { sessions: 200, instructions: 10_000, connections: 2_000 },
  S: { sessions: 2_000, instructions: 100_000, connections: 20_000 },
  M: { sessions: 20_000, instructions: 1_000_000, connections: 200_000 },
  L: { sessions: 200_000, instructions: 10_000_000, connections: 2_000_000 },
} as const;
export type Size = keyof typeof sizes;

/** What a template database is filled with. */
export interface Dataset {
  size: Size;
  /** Ids and places in the tables in random order; else in the order of time. */
  shuffled: boolean;
}

export function nameOf({ size, shuffled }: Dataset): string {
  return shuffled ? `${size} shuffled` : size;
}

/** Fills an empty database: ages over 3,000 days, in the newest deployed form of the schema. */
export async function fill(client: Client, { size, shuffled }: Dataset): Promise<void> {
  await loadSchema(client, 'no-action');
  await generate(client, { seed: 1, ...sizes[size], ageDays: 3000, shuffled });
  await clearCutoffs(client);
}

/**
 * Makes what would come due within the next day due now. The rounds are hours apart and each takes its own instant; so
 * the same rows are due for all of them.
 */
async function clearCutoffs(client: Client): Promise<void> {
  const { connectionCleanupHours, ...days } = presets.Development;
  const columns = [
    ['agentconnection', 'last_heartbeat_at', connectionCleanupHours],
    ['agentinstruction', 'created_at', 24 * days.instructionRetentionDays],
    ['agentsession', 'ended_at', 24 * days.completedSessionRetentionDays],
    ['agentinstructionacknowledgement', 'created_at', 24 * days.acknowledgementRetentionDays],
  ] as const;
  for (const [table, column, hours] of columns) {
    await client.query(
      `update ${table} set ${column} = ${column} - interval '25 hours'
        where ${column} between now() - make_interval(hours => $1) - interval '1 hour'
                            and now() - make_interval(hours => $1) + interval '24 hours'`,
      [hours],
    );
  }
}
