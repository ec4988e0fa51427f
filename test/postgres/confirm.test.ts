import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { effectiveRetention } from '../../src/api/effective.ts';
import { checksums } from '../support/data/checksum.ts';
import { filledDatabase, instant } from '../support/data/filled.ts';
import type { TestDatabase } from '../support/postgres/database.ts';
import { type RunOverrides, run } from '../support/retention.ts';

// The values of the last successful run are the preset ScientificCompliance's; the data is of some three years.
const applied = effectiveRetention({ preset: 'ScientificCompliance' });
const scientific = { preset: 'ScientificCompliance', applied, instant } satisfies RunOverrides;

let database: TestDatabase;
beforeEach(async () => {
  database = await filledDatabase('no-action');
});
afterEach(() => database?.drop());

/** Fails unless the run is Blocked for this, with these lines to add, and changes nothing; a dry run says the same. */
async function expectUnconfirmed(overrides: RunOverrides, words: RegExp, lines: string): Promise<void> {
  const client = await database.client();
  const before = await checksums(client);
  const blocked = await run(database, { ...scientific, ...overrides });
  expect(blocked).toMatchObject({ result: 'Blocked', rows: 0, operations: [] });
  expect(blocked.message).toMatch(words);
  expect(blocked.message).toContain(`To confirm it, write in spec.guard: ${lines}. Nothing was changed`);
  expect(await checksums(client)).toEqual(before);
  const dry = await run(database, { ...scientific, ...overrides, dryRun: true });
  expect(dry.message).toContain(`write in spec.guard: ${lines}`);
}

describe('a value that makes more rows due than that of the last successful run blocks the run', () => {
  const shortened: [string, RunOverrides, RegExp, string][] = [
    [
      'instructionRetentionDays 200 instead of 365',
      { retention: { instructionRetentionDays: 200 } },
      /^instructions: [\d,]+ rows are due instead of [\d,]+ by instructionRetentionDays 200 instead of 365, under which runs have succeeded/,
      'confirm: {instructionRetentionDays: 200}',
    ],
    [
      'the preset Development',
      { preset: 'Development' },
      /^connections: .*connectionCleanupHours 4 instead of 48; instructions: .* 7 instead of 365; sessions: .* 14 instead of 730; acknowledgements: .* 30 instead of 2555/,
      'confirm: {connectionCleanupHours: 4, instructionRetentionDays: 7, completedSessionRetentionDays: 14, acknowledgementRetentionDays: 30}',
    ],
    [
      'another status of instructions',
      { retention: { statuses: { ...applied.statuses, instructions: ['completed', 'failed', 'expired', 'sent'] } } },
      /^instructions: .* by statuses\.instructions with "sent" too/,
      'confirm: {statuses: {instructions: ["completed","failed","expired","sent"]}}',
    ],
    [
      'another status of sessions, and a shorter period',
      {
        retention: {
          completedSessionRetentionDays: 30,
          statuses: { ...applied.statuses, sessions: ['ended', 'error'] },
        },
        guard: { confirm: { instructionRetentionDays: 200, completedSessionRetentionDays: 300 } },
      },
      /^sessions: .* by completedSessionRetentionDays 30 instead of 730 and statuses\.sessions with "ended" too/,
      'confirm: {instructionRetentionDays: 200, completedSessionRetentionDays: 30, statuses: {sessions: ["ended","error"]}}',
    ],
    [
      'a number that was confirmed for another one',
      { retention: { instructionRetentionDays: 20 }, guard: { confirm: { instructionRetentionDays: 200 } } },
      /instructionRetentionDays 20 instead of 365/,
      'confirm: {instructionRetentionDays: 20}',
    ],
  ];
  test.each(shortened)('%s', async (_, overrides, words, lines) => {
    await expectUnconfirmed(overrides, words, lines);
  });

  test('with the numbers of both: what is due by it, and what is due without', async () => {
    const rowsBy = async (days: number) =>
      (
        await run(database, {
          ...scientific,
          dryRun: true,
          applied: undefined,
          operations: ['instructions'],
          retention: { instructionRetentionDays: days },
        })
      ).rows;
    const number = new Intl.NumberFormat('en-US').format;
    const [now, before] = [number(await rowsBy(200)), number(await rowsBy(365))];
    await expectUnconfirmed(
      { retention: { instructionRetentionDays: 200 } },
      new RegExp(`^instructions: ${now} rows are due instead of ${before} by`),
      'confirm: {instructionRetentionDays: 200}',
    );
  });
});

describe('a run is not blocked', () => {
  const fine: [string, RunOverrides][] = [
    ['by the same values', {}],
    [
      'by longer periods and fewer statuses',
      { retention: { instructionRetentionDays: 400, statuses: { sessions: ['error'], instructions: ['failed'] } } },
    ],
    [
      'where the new value is confirmed',
      { retention: { instructionRetentionDays: 200 }, guard: { confirm: { instructionRetentionDays: 200 } } },
    ],
    [
      'where each of several is, statuses in any order',
      {
        preset: 'Development',
        retention: { statuses: { ...applied.statuses, instructions: ['sent', 'completed'] } },
        guard: {
          confirm: {
            connectionCleanupHours: 4,
            instructionRetentionDays: 7,
            completedSessionRetentionDays: 14,
            acknowledgementRetentionDays: 30,
            statuses: { instructions: ['completed', 'sent'] },
          },
        },
      },
    ],
    [
      'where the shorter period is of an operation that the run does not do',
      { retention: { instructionRetentionDays: 364, batchSize: 1 }, operations: ['sessions'] },
    ],
    ['without a memory: a first run, one by hand', { preset: 'Development', applied: undefined }],
    [
      'by an operation that never succeeded before',
      { preset: 'Development', operations: ['instructions'], applied: { connectionCleanupHours: 48 } },
    ],
  ];
  test.each(fine)('%s', async (_, overrides) => {
    expect(await run(database, { ...scientific, ...overrides })).toMatchObject({ result: 'Succeeded' });
  });
});

test('a shorter period is asked for also while it makes no row due: once applied, nobody would be asked again', async () => {
  await database.pool.query(`update agentsession set status = 'active'`);
  await expectUnconfirmed(
    { operations: ['sessions'], retention: { completedSessionRetentionDays: 1 } },
    /^sessions: 0 rows are due instead of 0 by completedSessionRetentionDays 1 instead of 730/,
    'confirm: {completedSessionRetentionDays: 1}',
  );
});

test('confirming a value does not lift the other limits of the guard', async () => {
  const overrides: RunOverrides = { retention: { instructionRetentionDays: 20 } };
  const confirm = { instructionRetentionDays: 20 };
  const blocked = await run(database, { ...scientific, ...overrides, guard: { confirm, maxRowsPerRun: 10 } });
  expect(blocked).toMatchObject({ result: 'Blocked', message: expect.stringContaining('guard.maxRowsPerRun 10') });
  expect(blocked.message).not.toContain('confirm:');
});
