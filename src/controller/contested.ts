import { createHash } from 'node:crypto';
import { backoffMs } from '../kubernetes/backoff.ts';

/** What is changed back is written again after waits that double between these. */
const waits = { baseMs: 1_000, maxMs: 120_000 };
/** A write that held for so long was not undone. Longer than twice the longest wait: of two that write in turns, both see it. */
export const heldMs = 300_000;
/** How often in a row a write is undone before that is called a quarrel; until then it is written again at once. */
const undoneByAccident = 2;

/** What is to be written of one thing, and how what is there differs from it: '' for not at all. */
export interface Attempt {
  /** Names it among all. */
  key: string;
  content: unknown;
  differs: string;
}

interface Written {
  /** Hash of the content. */
  content: string;
  /** How the answer to the write differed from it: what an admission policy made of it. */
  onTheWay: string;
  /** How often in a row that was so. */
  tries: number;
  at: number;
  /** How often in a row others have changed it afterwards. */
  undone: number;
  /** Whether that is known of the newest write. */
  lost: boolean;
  /** What is told of it, from when it is a quarrel on. */
  told?: string;
}

/**
 * What the controller wrote and others change, on the way or afterwards: the same is not written again and again at once.
 * Remembers what was written for as long as it may still be undone.
 */
export class Contested {
  readonly #written = new Map<string, Written>();
  readonly #now: () => Date;
  #purgeAt = 1_000;

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** How long to wait, in milliseconds, before this is written; 0 for now. */
  waitMs(attempt: Attempt): number {
    const known = this.#known(attempt);
    if (!known) return 0;
    if (attempt.differs === known.onTheWay) return this.#until(known.at + backoffMs(known.tries, waits));
    if (!known.lost) known.undone += 1;
    known.lost = true;
    const quarrels = known.undone - undoneByAccident;
    return quarrels > 0 ? this.#until(known.at + backoffMs(quarrels, waits)) : 0;
  }

  /** Told of each write, and of how the answer differs from what was asked for. */
  wrote(attempt: Attempt, onTheWay: string): void {
    const known = this.#known(attempt);
    const tries = onTheWay === '' ? 0 : onTheWay === known?.onTheWay ? known.tries + 1 : 1;
    const { undone = 0, told } = known ?? {};
    this.#written.set(attempt.key, {
      content: hash(attempt.content),
      onTheWay,
      tries,
      at: this.#now().getTime(),
      undone,
      lost: false,
      told,
    });
    if (this.#written.size < this.#purgeAt) return;
    // What is still contested has been tried again meanwhile.
    for (const [key, { at }] of this.#written) if (this.#until(at + heldMs) === 0) this.#written.delete(key);
    this.#purgeAt = Math.max(1_000, 2 * this.#written.size);
  }

  /**
   * Whether others keep undoing this: what to say of it, by `describe` as soon as it is so and the same from then on, and in
   * how many milliseconds it is over if they stop.
   */
  async quarrel(
    attempt: Attempt,
    describe: () => Promise<string>,
  ): Promise<{ message: string; overMs: number } | undefined> {
    const known = this.#known(attempt);
    if (!known || known.undone <= undoneByAccident) return undefined;
    known.told ??= await describe();
    return { message: known.told, overMs: this.#until(known.at + heldMs) };
  }

  /** Whether this was written before, and changed on its way in the same fields. */
  isTriedAgain(attempt: Attempt): boolean {
    return this.#known(attempt)?.onTheWay === attempt.differs;
  }

  /** Whether others keep undoing this. */
  isQuarrel(attempt: Attempt): boolean {
    return (this.#known(attempt)?.undone ?? 0) > undoneByAccident;
  }

  /** What is there was changed by the controller itself. */
  forget(key: string): void {
    this.#written.delete(key);
  }

  /** What is known of this content; nothing of a write that has held. */
  #known({ key, content, differs }: Attempt): Written | undefined {
    const known = this.#written.get(key);
    if (!known) return undefined;
    const isOver =
      this.#until(known.at + heldMs) === 0 && (differs === '' || (!known.lost && differs !== known.onTheWay));
    if (known.content === hash(content) && !isOver) return known;
    this.#written.delete(key);
    return undefined;
  }

  #until(time: number): number {
    return Math.max(0, time - this.#now().getTime());
  }
}

function hash(content: unknown): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('base64').slice(0, 16);
}
