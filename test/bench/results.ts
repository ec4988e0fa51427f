import type { Dataset } from './data.ts';
import type { CleanupRounds } from './scenarios/cleanup.ts';

/** Everything that a bench measured; what is printed follows from it. */
export interface Results {
  machine: string[];
  cleanups: { dataset: Dataset; rounds: CleanupRounds }[];
}
