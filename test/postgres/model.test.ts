import fc from 'fast-check';
import { afterAll, beforeAll, test } from 'vitest';
import { emptyTables } from '../support/data/due-rows.ts';
import { Model } from '../support/model.ts';
import { allCommands, type Real } from '../support/model-commands.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';

const numRuns = Number(process.env.MODEL_RUNS ?? 25);
const timeLimitMs = 60_000 + numRuns * 5_000;

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase({ template: 'cascade' });
});
afterAll(() => database.drop());

/** The preset Development. */
const development = {
  connectionCleanupHours: 4,
  instructionRetentionDays: 7,
  completedSessionRetentionDays: 14,
  acknowledgementRetentionDays: 30,
  statuses: { sessions: ['completed', 'terminated', 'error'], instructions: ['completed', 'failed', 'expired'] },
};

test(
  `whatever comes before and between, runs leave what the design says: ${numRuns} histories drawn at random`,
  async () => {
    const histories = fc.commands(allCommands, { maxCommands: 40, size: 'max' });
    await fc.assert(
      fc.asyncProperty(histories, async (history) => {
        await emptyTables(database.pool);
        const real: Real = { database, batchSize: 3, walk: 'list' };
        await fc.asyncModelRun(() => ({ model: new Model(development), real }), history);
      }),
      // Shrinking ends in time to say what was found: the seed, the path and the shortest history so far.
      { numRuns, interruptAfterTimeLimit: timeLimitMs - 20_000, markInterruptAsFailure: true },
    );
  },
  timeLimitMs,
);
