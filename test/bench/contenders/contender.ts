import type { Client } from 'pg';
import { type CleanupOperation, cleanupOperations } from '../../../src/api/spec.ts';
import { withClient } from '../../support/postgres/server.ts';
import { walPosition, walSince } from '../wal.ts';

/** What one operation did in one round. */
interface OperationFigures {
  rows: number;
  seconds: number;
  walBytes?: number;
}

/** What one contender did in one round. */
export interface Cleanup {
  operations: Record<CleanupOperation, OperationFigures>;
  /** From first to last, with everything that the contender does besides the operations. */
  seconds: number;
  /** From the start of a process of its own to its end. */
  processSeconds?: number;
  peakMemoryBytes?: number;
}

/** Rows that a cleanup changed. */
export function rowsOf({ operations }: Cleanup): number {
  return cleanupOperations.reduce((sum, name) => sum + operations[name].rows, 0);
}

/** One way to do a full cleanup by the policy Development. */
export interface Contender {
  name: 'runner' | 'bulk' | 'plpgsql';
  /** Done to the clone before anything is measured. */
  prepare?(client: Client): Promise<unknown>;
  run(url: string): Promise<Cleanup>;
}

/** Does an operation at an instant (`YYYY-MM-DDTHH:MM:SS.ffffffZ`); returns how many rows it changed. */
export type SqlOperation = (client: Client, instant: string) => Promise<number>;

/** A full cleanup by SQL over one connection, timed operation by operation. */
export function cleanUpBySql(url: string, work: Record<CleanupOperation, SqlOperation>): Promise<Cleanup> {
  return withClient(url, async (client) => {
    const clock = await client.query<{ instant: string }>(
      `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as instant`,
    );
    const operations: Partial<Cleanup['operations']> = {};
    let total = 0;
    for (const name of cleanupOperations) {
      const from = await walPosition(client);
      const started = performance.now();
      const rows = await work[name](client, clock.rows[0]!.instant);
      const seconds = (performance.now() - started) / 1000;
      operations[name] = { rows, seconds, walBytes: await walSince(client, from) };
      total += seconds;
    }
    return { operations: operations as Cleanup['operations'], seconds: total };
  });
}
