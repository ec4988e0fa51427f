/** Rows in one transaction, whatever its time. */
const [smallest, largest] = [100, 20_000];
/** Long enough that a commit does not count, short enough that nobody minds waiting for a row of the batch. */
const targetMs = 100;

/**
 * How many rows the next batch takes: it starts at spec.batchSize and follows the time that batches need, at most
 * doubled or halved from one to the next, from 100 (or spec.batchSize, if that is less) to 20,000.
 */
export class Pace {
  readonly #adapts: boolean;
  readonly #smallest: number;
  rows: number;

  constructor(batchSize: number, adapts: boolean) {
    this.rows = batchSize;
    this.#adapts = adapts;
    this.#smallest = Math.min(smallest, batchSize);
  }

  /** Takes in how long a batch of the present size took. */
  took(ms: number): void {
    if (!this.#adapts) return;
    const factor = Math.min(2, Math.max(0.5, targetMs / Math.max(ms, 1)));
    this.rows = Math.round(Math.min(largest, Math.max(this.#smallest, this.rows * factor)));
  }
}
