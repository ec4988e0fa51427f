import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { milliseconds } from '../../../src/api/duration.ts';
import { effectiveRetention, effectiveSchema, presetRetention } from '../../../src/api/effective.ts';
import { presetNames, presets } from '../../../src/api/presets.ts';

const statuses = {
  sessions: ['completed', 'terminated', 'error'],
  instructions: ['completed', 'failed', 'expired'],
};

describe('presets', () => {
  // Hours of connections; days of instructions, sessions, acknowledgements; batch size: as design section 3 gives them.
  test.each([
    ['ScientificCompliance', 48, 365, 730, 2555, 500],
    ['Development', 4, 7, 14, 30, 1000],
    ['Custom', 24, 30, 90, 365, 1000],
  ] as const)('%s', (preset, hours, instructions, sessions, acknowledgements, batchSize) => {
    expect(presetRetention(preset)).toEqual({
      preset,
      connectionCleanupHours: hours,
      instructionRetentionDays: instructions,
      completedSessionRetentionDays: sessions,
      acknowledgementRetentionDays: acknowledgements,
      batchSize,
      statuses,
    });
  });
});

describe('the values in force', () => {
  const period = fc.option(fc.integer({ min: 1, max: 36_500 }), { nil: undefined });
  const list = fc.option(fc.array(fc.string({ minLength: 1, maxLength: 64 }), { minLength: 1, maxLength: 20 }), {
    nil: undefined,
  });

  test('are the overrides, and the preset’s where there is none', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...presetNames),
        fc.record({
          connectionCleanupHours: period,
          instructionRetentionDays: period,
          completedSessionRetentionDays: period,
          acknowledgementRetentionDays: period,
          batchSize: period,
        }),
        fc.option(fc.record({ sessions: list, instructions: list }), { nil: undefined }),
        (preset, overrides, given) => {
          const effective = effectiveRetention({ preset, retention: { ...overrides, statuses: given } });
          for (const key of Object.keys(presets[preset]) as (keyof typeof overrides)[]) {
            expect(effective[key]).toBe(overrides[key] ?? presets[preset][key]);
          }
          expect(effective.statuses).toEqual({
            sessions: given?.sessions ?? statuses.sessions,
            instructions: given?.instructions ?? statuses.instructions,
          });
          expect(effectiveSchema.parse(effective)).toEqual(effective);
        },
      ),
    );
  });

  test('belong to the caller: changing them leaves the defaults as they are', () => {
    presetRetention('Custom').statuses.sessions.push('mine');
    expect(presetRetention('Custom').statuses).toEqual(statuses);
  });
});

describe('durations', () => {
  test.each([
    ['0s', 0],
    ['250ms', 250],
    ['2s', 2_000],
    ['1m', 60_000],
    ['1h', 3_600_000],
    ['1h30m', 5_400_000],
    ['1m500ms', 60_500],
    ['168h', 604_800_000],
  ])('%s is %i ms', (text, expected) => {
    expect(milliseconds(text)).toBe(expected);
  });

  test.each(['', '2', 's', '2 s', '-2s', '1.5h', '2d', '2S', '1h 30m', '1h30', ' 2s', '2s\n', '1e3s', '2µs'])(
    '%j is refused in one sentence that names it',
    (text) => {
      expect(() => milliseconds(text)).toThrow(`"${text}" is not a duration: write a number with ms, s, m or h`);
    },
  );
});
