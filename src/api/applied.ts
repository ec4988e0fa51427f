import type { z } from 'zod';
import { effectiveSchema } from './effective.ts';

/**
 * The retention values under which runs have last succeeded, each as its operation applied it: what a shortened period is
 * compared with. A value is absent where its operation never ran.
 */
export const appliedSchema = effectiveSchema
  .omit({ preset: true, batchSize: true })
  .extend({ statuses: effectiveSchema.shape.statuses.partial() })
  .partial();
export type Applied = z.output<typeof appliedSchema>;
