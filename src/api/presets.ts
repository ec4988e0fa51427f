/** The retention values a policy resolves to: periods in the unit their name says, `batchSize` in rows. */
export interface RetentionValues {
  connectionCleanupHours: number;
  instructionRetentionDays: number;
  completedSessionRetentionDays: number;
  acknowledgementRetentionDays: number;
  batchSize: number;
}

/** Values of each preset; a field of `spec.retention` overrides one of them. */
export const presets = {
  ScientificCompliance: {
    connectionCleanupHours: 48,
    instructionRetentionDays: 365,
    completedSessionRetentionDays: 730,
    acknowledgementRetentionDays: 2555,
    batchSize: 500,
  },
  Development: {
    connectionCleanupHours: 4,
    instructionRetentionDays: 7,
    completedSessionRetentionDays: 14,
    acknowledgementRetentionDays: 30,
    batchSize: 1000,
  },
  Custom: {
    connectionCleanupHours: 24,
    instructionRetentionDays: 30,
    completedSessionRetentionDays: 90,
    acknowledgementRetentionDays: 365,
    batchSize: 1000,
  },
} as const satisfies Record<string, RetentionValues>;

export const presetNames = ['ScientificCompliance', 'Development', 'Custom'] as const;
export type PresetName = (typeof presetNames)[number];

/** Seven years: acknowledgements kept at least this long are never deleted by a policy. */
export const auditTrailDays = 2555;

/** Statuses whose rows an operation takes, unless `spec.retention.statuses` replaces them. */
export const defaultStatuses = {
  sessions: ['completed', 'terminated', 'error'],
  instructions: ['completed', 'failed', 'expired'],
} as const;
