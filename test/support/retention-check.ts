import { expect } from 'vitest';
import { effectiveRetention } from '../../src/api/effective.ts';
import type { OperationResult, RunResult } from '../../src/api/run-result.ts';
import { type CleanupOperation, cleanupOperations } from '../../src/api/spec.ts';
import { instant } from './data/filled.ts';
import type { TestDatabase } from './postgres/database.ts';
import { type RunOverrides, run } from './retention.ts';
import { changed, differences, expectedAfter, type Snapshot, snapshot } from './retention-oracle.ts';

const countsOf = ({ name, closed, archived, deleted }: OperationResult) => ({ name, closed, archived, deleted });

/** What a run must report of an operation, from the rows that the oracle changed. */
function countsBetween(before: Snapshot, after: Snapshot, name: CleanupOperation) {
  const { deleted, altered } = changed(before, after, name);
  const none = { name, closed: undefined, archived: undefined, deleted: undefined };
  switch (name) {
    case 'connections':
      return { ...none, closed: altered.length };
    case 'instructions':
      return { ...none, archived: altered.length, deleted: deleted.length };
    case 'sessions':
      return { ...none, archived: altered.length };
    case 'acknowledgements':
      return { ...none, deleted: deleted.length };
  }
}

/** Runs at the generator's instant; fails unless every row is what the oracle says, and every count. */
export async function runAndCompare(
  database: TestDatabase,
  overrides: RunOverrides,
  { expecting = cleanupOperations as readonly CleanupOperation[] } = {},
): Promise<{ result: RunResult; before: Snapshot; after: Snapshot }> {
  const retention = { ...effectiveRetention({ preset: overrides.preset ?? 'Development' }), ...overrides.retention };
  const before = await snapshot(database.pool);
  const expected = expectedAfter(before, retention, instant, expecting);
  const result = await run(database, { instant, ...overrides });
  const after = await snapshot(database.pool);
  expect(differences(after, expected)).toEqual([]);
  expect(result).toMatchObject({ result: 'Succeeded', policy: retention });
  expect(result.operations.map(countsOf)).toEqual(expecting.map((name) => countsBetween(before, expected, name)));
  return { result, before, after };
}
