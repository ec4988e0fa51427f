import type { Dataset } from './data.ts';
import type { Flatness } from './deciles.ts';
import type { CleanupRounds } from './scenarios/cleanup.ts';
import type { WindowPair } from './scenarios/foreground.ts';
import type { NothingDue } from './scenarios/nothing-due.ts';
import type { Start } from './scenarios/start.ts';

/** Everything that a bench measured; what is printed follows from it. Scenarios that were not asked for are left out. */
export interface Results {
  machine: string[];
  cleanups: { dataset: Dataset; rounds: CleanupRounds }[];
  flat?: { dataset: Dataset; rounds: Flatness[][] };
  nothingDue?: { instructions: number; variants: NothingDue[] };
  foreground?: { dataset: Dataset; pairs: WindowPair[] };
  start?: Start[];
}
