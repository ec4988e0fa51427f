import type pg from 'pg';
import type { z } from 'zod';
import type { Applied } from '../api/applied.ts';
import type { EffectiveRetention } from '../api/effective.ts';
import type { RunResult } from '../api/run-result.ts';
import type { CleanupOperation, limitsSchema } from '../api/spec.ts';
import type { Silence } from '../database/silence.ts';
import type { Guard } from './guard.ts';

/** Progress of a run, after each batch. `due` is what was counted when the run started. */
export interface Progress {
  operation: CleanupOperation;
  rows: number;
  due: number;
  batches: number;
}

interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** One run: what to do, to which database, and the hands it works with. */
export interface RunOptions {
  identity: Pick<RunResult, 'id' | 'job' | 'trigger'>;
  operations: readonly CleanupOperation[];
  retention: EffectiveRetention;
  schema: string;
  timestampTimeZone: string;
  /** The values under which the policy's runs have last succeeded; nothing is compared without. */
  applied?: Applied | undefined;
  dryRun: boolean;
  guard: Guard;
  limits: z.output<typeof limitsSchema>;
  /** True for the command line's own `acknowledgements`: asked for by name, the seven-year gate does not apply. */
  ignoreAuditTrailGate?: boolean;
  /** Opens a connection, which is given up, with all that waits for it, when `abandon` is aborted. */
  connect: (abandon?: AbortSignal) => Promise<pg.Client>;
  /** Aborted with a sentence as reason when the run has to stop. */
  signal: AbortSignal;
  log: Logger;
  now: () => Date;
  onProgress?: (progress: Progress) => void;
  /** The run's instant, for tests of exact cutoffs; by default the database's clock. */
  instant?: string;
  /** Keeps every batch at retention.batchSize, for tests that count them. */
  fixedBatchSize?: boolean;
  /** How rows are walked, for tests and benches; by default as their number and the planner's costs suggest. */
  walk?: 'list' | 'keyset' | 'blocks';
  runLockWaitMs?: number;
  /** How long after a stop a running statement is cancelled. */
  cancelAfterMs?: number;
  /** How long the vacuum of one table may take. */
  vacuumTimeoutMs?: number;
  /** Pauses before a transaction is tried again after a conflict or a lost connection, for tests. */
  retryPausesMs?: readonly number[];
  /** How long a first connection is tried where what is wrong may pass, for tests. */
  firstConnectionMs?: number;
  /** How long a silence is taken for work, for tests. */
  silence?: Silence;
}
