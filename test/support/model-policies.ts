import fc from 'fast-check';
import type { Policy } from './model.ts';

/** Short periods, so that what is drawn is due by some and not by others. */
const days = fc.integer({ min: 1, max: 8 });
export const policies: fc.Arbitrary<Policy> = fc
  .record({
    connectionCleanupHours: fc.integer({ min: 1, max: 6 }),
    instructionRetentionDays: days,
    completedSessionRetentionDays: days,
    longer: fc.constantFrom(0, 1, 3, 2555),
    statuses: fc.record({
      sessions: fc.constantFrom(['completed', 'terminated', 'error'], ['ended'], ['active', 'completed']),
      instructions: fc.constantFrom(['completed', 'failed', 'expired'], ['sent'], ['completed', 'pending']),
    }),
  })
  .map(({ longer, ...rest }) => ({
    ...rest,
    acknowledgementRetentionDays: rest.instructionRetentionDays + longer,
  }));

/** What makes no difference to what a run does. */
export interface Settings {
  batchSize: number;
  walk: 'list' | 'keyset' | 'blocks';
}

export const settings: fc.Arbitrary<Settings> = fc.record({
  batchSize: fc.integer({ min: 1, max: 5 }),
  walk: fc.constantFrom('list', 'keyset', 'blocks'),
});
