import { type Changes, destroyed, type Operation, rowsOf } from './operation.ts';

const number = new Intl.NumberFormat('en-US');

/** Rows counted, and a margin for those that become due while the run is at work: a tenth, and a thousand. */
export const withMargin = (counted: number): number => Math.ceil(counted * 1.1) + 1_000;

/** How many rows an operation may still change: the guard counted once, and what became due since has not been looked at. */
export class Budget {
  readonly #counted: number;
  readonly #rows: number;
  left: number;
  /** True once there was more to change than may be. */
  exceeded = false;

  constructor(counted: number, rows: number) {
    this.#counted = counted;
    this.#rows = rows;
    this.left = rows;
  }

  /** The keys of some batches, cut to what is left each time; ends, `exceeded`, where keys come and nothing is left. */
  async *within(batches: AsyncIterable<string[]>): AsyncGenerator<string[]> {
    for await (const batch of batches) {
      for (let keys = batch; keys.length > 0; ) {
        if (this.isSpent()) return;
        const some = keys.slice(0, this.left);
        keys = keys.slice(some.length);
        yield some;
      }
    }
  }

  /** Whether nothing is left for a row that is due; it is `exceeded` then. */
  isSpent(): boolean {
    this.exceeded ||= this.left <= 0;
    return this.left <= 0;
  }

  /** What happened, as a part of the operation's message; undefined if it was enough. */
  get note(): string | undefined {
    if (!this.exceeded) return undefined;
    const counted = `${number.format(this.#counted)} ${this.#counted === 1 ? 'was' : 'were'} counted`;
    return `more rows became due while the run was at work: ${counted}, and no more than ${number.format(this.#rows)} may be changed without the guard counting again; the next run counts again`;
  }
}

/** The budgets of a run's operations, which share guard.maxRowsPerRun; what was counted for later ones is kept for them. */
export class Budgets {
  readonly #allowed: ReadonlyMap<Operation, number>;
  #spare: number;

  /** `spare`: rows that may be changed beyond all that were counted. */
  constructor(allowed: ReadonlyMap<Operation, number>, spare: number) {
    this.#allowed = allowed;
    this.#spare = spare;
  }

  /** The budget of an operation that would change this by the count. */
  for(operation: Operation, counted: Changes): Budget {
    const rows = rowsOf(counted);
    const allowed = this.#allowed.get(operation) ?? rows;
    return new Budget(rows, counted.closed === undefined ? Math.min(allowed, rows + this.#spare) : allowed);
  }

  /** Takes in what an operation has changed of what was counted. */
  took(counted: Changes, changes: Changes): void {
    this.#spare -= Math.max(0, destroyed(changes) - destroyed(counted));
  }
}
