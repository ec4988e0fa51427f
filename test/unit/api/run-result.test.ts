import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { presetRetention } from '../../../src/api/effective.ts';
import {
  badInputExitCode,
  cutText,
  cutTexts,
  exitCodes,
  maxTextLength,
  printable,
  type Result,
  type RunReport,
  results,
  resultWithoutOperations,
  runReportSchema,
  runResultSchema,
  terminationMessage,
  worstResult,
} from '../../../src/api/run-result.ts';
import { cleanupOperations } from '../../../src/api/spec.ts';

const identity = { id: 'smartem-nightly-29384760', job: 'nightly', trigger: 'Schedule' } as const;

/** A report of every operation, with these texts in every place where a text can be. */
function reportWith(text: string, statuses: string[] = []): RunReport {
  return {
    ...identity,
    startTime: '2026-11-23T03:17:00.123Z',
    completionTime: '2026-11-23T03:18:00.456Z',
    durationSeconds: 60.333,
    result: 'Partial',
    rows: 4_000_000_000,
    operations: cleanupOperations.map((name) => ({
      name,
      cutoff: '2024-11-23 03:17:00.123456+00',
      archived: 1_000_000_000,
      deleted: 1_000_000_000,
      skipped: 10_000,
      batches: 2_000_000,
      durationSeconds: 15.5,
      message: text,
      error: text,
    })),
    policy: presetRetention('ScientificCompliance'),
    message: text,
    indexAdvice: [{ table: 'agentsession', statements: ['create index …'], saving: 'much' }],
    statistics: {
      observedAt: '2026-11-23T03:17:00.123456Z',
      recordCounts: { sessions: { rows: 1 } },
      tableSizes: {},
      totalSizeBytes: 1,
      totalSize: '1 bytes',
      oldest: {},
      due: {},
      uncovered: { sessions: statuses.map((status) => ({ status, rows: 1 })) },
    },
  };
}

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: maxTextLength }),
  fc
    .tuple(fc.constantFrom('a', 'é', '€', '😀', '"', '\\', '\n', '\u0000', '\ud800'), fc.nat(maxTextLength))
    .map(([unit, count]) => unit.repeat(count).slice(0, maxTextLength)),
);

describe('the termination message', () => {
  test('has 4,096 bytes at most, and is a result with the same counts, whatever the texts', () => {
    fc.assert(
      fc.property(
        anyText,
        fc.array(fc.string({ unit: 'binary', maxLength: 64 }), { maxLength: 50 }),
        (text, statuses) => {
          const report = reportWith(text, statuses);
          const message = terminationMessage(report);
          expect(Buffer.byteLength(message)).toBeLessThanOrEqual(4096);
          const parsed = runReportSchema.parse(JSON.parse(message));
          const counts = ({ id, result, rows, operations }: RunReport) => ({
            id,
            result,
            rows,
            operations: operations.map(({ message: _message, error: _error, ...kept }) => kept),
          });
          expect(counts(parsed)).toEqual(counts(report));
          expect([text.slice(0, 14), printable(text).slice(0, 14)]).toContain(parsed.message?.slice(0, 14));
        },
      ),
    );
  });

  test('is the whole report where that fits, statistics and policy included', () => {
    const report = reportWith('all well', ['ended']);
    expect(JSON.parse(terminationMessage(report))).toEqual(report);
  });

  test('leaves out statistics first, then the policy, then advice, and cuts texts last', () => {
    const long = (length: number, statuses: string[] = []) =>
      JSON.parse(terminationMessage(reportWith('x'.repeat(length), statuses))) as RunReport;
    const many = Array.from({ length: 50 }, (_, n) => `status ${n} ${'y'.repeat(50)}`);
    expect(long(10, many)).toEqual({ ...reportWith('x'.repeat(10)), statistics: undefined });
    const without = (length: number, ...fields: (keyof RunReport)[]) =>
      Object.fromEntries(
        Object.entries(reportWith('x'.repeat(length))).filter(([name]) => !fields.includes(name as never)),
      );
    expect(long(320)).toEqual(without(320, 'statistics', 'policy'));
    expect(long(340)).toEqual(without(340, 'statistics', 'policy', 'indexAdvice'));
    expect(long(1024).message).toMatch(/^x{255}…$/);
  });
});

describe('texts', () => {
  test('are cut to a length, with an ellipsis in place of what is missing, never within a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.integer({ min: 1, max: 40 }), (any, length) => {
        const text = printable(any);
        const cut = cutText(any, length);
        expect(cut.length).toBeLessThanOrEqual(length);
        expect(cut.isWellFormed()).toBe(true);
        if (text.length <= length) expect(cut).toBe(text);
        else {
          expect(cut.endsWith('…')).toBe(true);
          expect(text.startsWith(cut.slice(0, -1))).toBe(true);
          expect(cut.length).toBeGreaterThanOrEqual(length - 1);
        }
      }),
    );
  });

  test('of a result all fit the schema once cut, and what is not there stays away', () => {
    const cut = cutTexts(reportWith('ü'.repeat(5_000)));
    expect(runReportSchema.parse(cut)).toEqual(cut);
    expect(cut.operations.every((operation) => operation.error?.length === maxTextLength)).toBe(true);
    const { message: _message, ...silent } = reportWith('');
    expect(JSON.parse(JSON.stringify(cutTexts(silent)))).not.toHaveProperty('message');
  });
});

describe('the worst result', () => {
  test('of none is none', () => {
    expect(worstResult([])).toBeUndefined();
  });

  test('is the first of Failed, Blocked, Partial, Skipped, DryRun, Succeeded', () => {
    const order = ['Failed', 'Blocked', 'Partial', 'Skipped', 'DryRun', 'Succeeded'] as const;
    expect([...results].sort()).toEqual([...order].sort());
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...order), { minLength: 1 }), (some) => {
        expect(worstResult(some)).toBe(order.find((result) => some.includes(result)));
      }),
    );
  });
});

test('exit codes are those of the design', () => {
  const expected: Record<Result, number> = { Succeeded: 0, DryRun: 0, Failed: 1, Blocked: 3, Partial: 4, Skipped: 5 };
  expect(exitCodes).toEqual(expected);
  expect(badInputExitCode).toBe(2);
});

test('a result without operations fits the schema, even when the clock went back and the text is long', () => {
  const [started, ended] = [new Date('2026-11-23T03:17:01Z'), new Date('2026-11-23T03:17:00Z')];
  const result = resultWithoutOperations(identity, 'Failed', started, ended, 'x'.repeat(5_000));
  expect(runResultSchema.parse(result)).toEqual(result);
  expect(result).toMatchObject({ ...identity, result: 'Failed', rows: 0, durationSeconds: 0, operations: [] });
});
