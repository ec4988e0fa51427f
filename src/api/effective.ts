import { z } from 'zod';
import { defaultStatuses, type PresetName, presetNames, presets, type RetentionValues } from './presets.ts';
import type { SpecFields } from './spec.ts';

/** The values in force: the preset's, overridden by spec.retention. */
export const effectiveSchema = z.object({
  preset: z.enum(presetNames),
  connectionCleanupHours: z.int(),
  instructionRetentionDays: z.int(),
  completedSessionRetentionDays: z.int(),
  acknowledgementRetentionDays: z.int(),
  batchSize: z.int(),
  statuses: z.object({
    sessions: z.array(z.string().max(64)).max(20),
    instructions: z.array(z.string().max(64)).max(20),
  }),
});
export type EffectiveRetention = z.output<typeof effectiveSchema>;

/** Resolves a preset and its overrides into the values that a run applies. */
export function effectiveRetention(spec: Pick<SpecFields, 'preset' | 'retention'>): EffectiveRetention {
  const { statuses, ...overrides } = spec.retention ?? {};
  const given = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined));
  return {
    preset: spec.preset,
    ...presets[spec.preset],
    ...(given as Partial<RetentionValues>),
    statuses: {
      sessions: [...(statuses?.sessions ?? defaultStatuses.sessions)],
      instructions: [...(statuses?.instructions ?? defaultStatuses.instructions)],
    },
  };
}

/** The values of a preset alone, as the command line's --policy takes them. */
export function presetRetention(preset: PresetName): EffectiveRetention {
  return effectiveRetention({ preset });
}
