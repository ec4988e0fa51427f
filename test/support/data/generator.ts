import { createHash } from 'node:crypto';
import type { ClientBase } from 'pg';
import {
  functions,
  insertAcknowledgements,
  insertConnections,
  insertInstructions,
  insertSessions,
  placeInstructions,
} from './rows.ts';

export interface GenerateOptions {
  /** Same seed, sizes and `now`: same rows. Data of different seeds can share a database. */
  seed?: number;
  sessions?: number;
  /** Half of them get one to three acknowledgements each, so there are about as many of those. */
  instructions?: number;
  connections?: number;
  /** The oldest rows are this many days old; ages are spread evenly. */
  ageDays?: number;
  /** Ids and places in the tables in random order, not in the order of time as in real tables: the worst case. */
  shuffled?: boolean;
  /** The instant that ages count from, as PostgreSQL reads it; the database's clock by default. */
  now?: string;
}

/** Instructions made at a time; their payloads stay in the server's memory. */
const slice = 100_000;

/** Rows made, per table. */
export interface GeneratedCounts {
  sessions: number;
  instructions: number;
  acknowledgements: number;
  connections: number;
}

/**
 * Fills the agent tables, in any variant of the schema, with rows as real services leave them: old rows first,
 * microseconds, every status, JSON null beside SQL NULL, empty, array and scalar JSON, payloads of 0.5–2 kB, and some rows
 * that were archived before. A session is older than its instructions, these are older than their acknowledgements.
 * One transaction, ended by `analyze`.
 */
export async function generate(client: ClientBase, options: GenerateOptions = {}): Promise<GeneratedCounts> {
  const { seed = 1, sessions = 200, instructions = 20_000, connections = 2 * sessions } = options;
  const { ageDays = 3000, shuffled = false, now = null } = options;
  const insert = async (sql: string, values: unknown[]) => (await client.query(sql, values)).rowCount ?? 0;
  await client.query('begin');
  try {
    await client.query(functions);
    const clock = await client.query<{ now: string }>(`select coalesce($1::timestamptz, now())::text as now`, [now]);
    const common = [seed, clock.rows[0]?.now, ageDays, sessions];
    const counts = {
      sessions: await insert(insertSessions, [...common, shuffled]),
      instructions: 0,
      acknowledgements: 0,
      connections: await insert(insertConnections, [...common, shuffled, connections]),
    };
    await client.query(placeInstructions, [seed, shuffled, instructions]);
    for (let after = 0; after < instructions; after += slice) {
      const places = [after, after + slice];
      counts.instructions += await insert(insertInstructions, [...common, instructions, noise(seed), ...places]);
    }
    counts.acknowledgements = await insert(insertAcknowledgements, [seed, clock.rows[0]?.now, shuffled]);
    await client.query('drop function pg_temp.sample(double precision, jsonb), pg_temp.draw(text, text)');
    await client.query('commit');
    await client.query('analyze agentsession, agentinstruction, agentinstructionacknowledgement, agentconnection');
    return counts;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** Bytes without a pattern, so that payloads are as long stored as they are written. */
function noise(seed: number): Buffer {
  const blocks = Array.from({ length: 512 }, (_, i) => createHash('sha256').update(`${seed} ${i}`).digest());
  return Buffer.concat(blocks);
}
