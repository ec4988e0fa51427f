import { describe, expect, test } from 'vitest';
import { runResultSchema } from '../../src/api/run-result.ts';
import { cleanupOperations } from '../../src/api/spec.ts';
import { filledDatabase, instant } from '../support/data/filled.ts';
import { run } from '../support/retention.ts';
import { runAndCompare } from '../support/retention-check.ts';

describe('one operation alone', () => {
  test.each(cleanupOperations)('%s changes its own rows only, in batches of any size', async (name) => {
    const database = await filledDatabase('no-action');
    try {
      const { result } = await runAndCompare(
        database,
        {
          operations: [name],
          walk: 'keyset',
          retention: { batchSize: 7 * (cleanupOperations.indexOf(name) + 5) + 1 },
        },
        { expecting: [name] },
      );
      const { batches } = result.operations[0]!;
      const windows = Math.ceil(result.rows / result.policy!.batchSize);
      // Deleting and archiving are two transactions.
      expect(batches).toBeGreaterThanOrEqual(windows);
      expect(batches).toBeLessThanOrEqual(name === 'instructions' ? 2 * windows : windows);
    } finally {
      await database.drop();
    }
  });

  test('operations named in another order run in the order of a full cleanup', async () => {
    const database = await filledDatabase('cascade');
    try {
      const operations = ['acknowledgements', 'sessions', 'instructions'] as const;
      await runAndCompare(database, { operations }, { expecting: ['instructions', 'sessions', 'acknowledgements'] });
    } finally {
      await database.drop();
    }
  });
});

test('a policy’s own statuses replace the default ones', async () => {
  const database = await filledDatabase('no-action');
  try {
    const statuses = { sessions: ['ended', 'error'], instructions: ['acknowledged', 'failed', 'no such status'] };
    const { before, after } = await runAndCompare(database, { retention: { statuses } });
    const gone = [...before.agentinstruction].filter(([id]) => !after.agentinstruction.has(id));
    expect(new Set(gone.map(([, row]) => row.status))).toEqual(new Set(['acknowledged', 'failed']));
  } finally {
    await database.drop();
  }
});

describe('the gate of acknowledgements', () => {
  test('keeps all of them from 2555 days on, and says so', async () => {
    const database = await filledDatabase('no-action');
    try {
      const { result } = await runAndCompare(
        database,
        { preset: 'ScientificCompliance', operations: ['acknowledgements'] },
        { expecting: [] },
      );
      expect(result.message).toMatch(/acknowledgements are kept.*2555 days/);
      const asked = { instant, preset: 'ScientificCompliance', operations: ['acknowledgements'] } as const;
      const dry = await run(database, { ...asked, dryRun: true });
      expect(dry).toMatchObject({ result: 'DryRun', operations: [], message: result.message });
    } finally {
      await database.drop();
    }
  });

  test('opens one day below, with a warning that the audit trail is shorter', async () => {
    const database = await filledDatabase('cascade');
    try {
      const { result } = await runAndCompare(
        database,
        { retention: { acknowledgementRetentionDays: 2554 }, operations: ['acknowledgements'] },
        { expecting: ['acknowledgements'] },
      );
      expect(result.rows).toBeGreaterThan(0);
      expect(result.operations[0]?.message).toBe(`the audit trail is shorter by ${result.rows} acknowledgements`);
    } finally {
      await database.drop();
    }
  });

  test('does not hold for who asks for acknowledgements by name', async () => {
    const database = await filledDatabase('no-action');
    try {
      const { result } = await runAndCompare(
        database,
        { preset: 'ScientificCompliance', operations: ['acknowledgements'], ignoreAuditTrailGate: true },
        { expecting: ['acknowledgements'] },
      );
      expect(result.rows).toBeGreaterThan(0);
    } finally {
      await database.drop();
    }
  });
});

test('a result fits the schema of the status, also when the machine’s clock is set back meanwhile', async () => {
  const database = await filledDatabase('no-action');
  try {
    let time = Date.parse(instant);
    const now = () => {
      time -= 1_000;
      return new Date(time);
    };
    const result = await run(database, { instant, now });
    expect(result).toMatchObject({ result: 'Succeeded', durationSeconds: 0 });
    expect(runResultSchema.parse(result)).toEqual(result);
  } finally {
    await database.drop();
  }
});
