import fc from 'fast-check';
import { afterAll, beforeAll, test } from 'vitest';
import { emptyTables } from '../support/data/due-rows.ts';
import { Model } from '../support/model.ts';
import { beginnings, histories } from '../support/model-commands.ts';
import { policies, settings } from '../support/model-policies.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';

const numRuns = Number(process.env.MODEL_RUNS ?? 25);
const timeLimitMs = 60_000 + numRuns * 5_000;

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase({ template: 'cascade' });
});
afterAll(() => database.drop());

test(
  `whatever comes before and between, runs leave what the design says: ${numRuns} histories drawn at random`,
  async () => {
    await fc.assert(
      fc.asyncProperty(policies, settings, beginnings, histories, async (policy, how, beginning, history) => {
        await emptyTables(database.pool);
        const real = { database, ...how };
        await fc.asyncModelRun(() => ({ model: new Model(policy), real }), [...beginning, ...history]);
      }),
      // Shrinking ends in time to say what was found: the seed, the path and the shortest history so far.
      { numRuns, unbiased: true, interruptAfterTimeLimit: timeLimitMs - 20_000, markInterruptAsFailure: true },
    );
  },
  timeLimitMs,
);
