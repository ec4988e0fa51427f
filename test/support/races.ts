import type { Client } from 'pg';
import type { RunResult } from '../../src/api/run-result.ts';
import type { Queryable } from './data/due-rows.ts';
import { eventually } from './eventually.ts';
import type { TestDatabase } from './postgres/database.ts';
import { createHalt, halting, type Moment, type Trace } from './postgres/moments.ts';
import { pidOf } from './postgres/sessions.ts';
import { type RunOverrides, run } from './retention.ts';
import { statements } from './statements.ts';

/** How others' transactions end: each at once, or all together when the run has done what it can without them. */
export const endings = ['at once', 'committed later', 'rolled back later'] as const;
export type Ending = (typeof endings)[number];

/** A row, what somebody else does to it while a run goes on, and what must come of it. */
export interface Part {
  name: string;
  /** Adds the row; what `act` and the test know it by. */
  add(client: Queryable): Promise<string>;
  /** Statements of one transaction. */
  act(row: string): string;
  /** The step whose lock on the row the act has to wait for. */
  waitsFor?: Action;
  /** True where a foreign key refuses the act. */
  refused?(when: When): boolean;
  /** The row after the run, whose other rows are all done with. */
  expected(when: When, ending: Ending): string;
}

const lockForms = {
  deleted: /^select .* for update of t skip locked$/s,
  changed: /for no key update of t skip locked$/,
};
const changeForms = { deleted: /^delete from /, changed: /^update / };
type Action = keyof typeof lockForms;

/** When in a run a moment is, for a row that a step of the run is to delete, or one that a step is to change. */
export class When {
  readonly #at: number;
  readonly #trace: Trace;

  constructor({ statement, inside }: Moment, trace: Trace) {
    this.#at = inside ? statement : statement - 0.5;
    this.#trace = trace;
  }

  /** The step has not locked the row; it may have its snapshot. */
  beforeLock(action: Action): boolean {
    const lock = this.#trace.findIndex((text) => lockForms[action].test(text));
    return this.#at <= (lock === -1 ? this.#change(action) : lock);
  }

  /** The run waits, between its steps, for whoever holds rows of the first one. */
  get waitsBetweenSteps(): boolean {
    return this.#trace.some((text) => statements.look.test(text) || statements.list.test(text));
  }

  /** The statement that decides about the row, by locking or by changing it at once, has no snapshot. */
  beforeDecision(action: Action): boolean {
    const lock = this.#trace.findIndex((text) => lockForms[action].test(text));
    return this.#at < (lock === -1 ? this.#change(action) : lock);
  }

  /** The step holds the row locked. */
  during(action: Action): boolean {
    return !this.beforeLock(action) && this.#at < this.#trace.indexOf('commit', this.#change(action));
  }

  #change(action: Action): number {
    return this.#trace.findIndex((text) => changeForms[action].test(text));
  }
}

/** For `expected`: what the act leaves if it comes before the step has locked the row; what the run leaves otherwise. */
export const whoeverIsFirst =
  (action: Action, { act, run }: { act: string; run: string }): Part['expected'] =>
  (when, ending) =>
    when.beforeLock(action) && ending !== 'rolled back later' ? act : run;

/** For `expected`: what the act leaves, whenever it comes; what the run leaves if it is rolled back. */
export const theAct =
  ({ act, run }: { act: string; run: string }): Part['expected'] =>
  (_when, ending) =>
    ending === 'rolled back later' ? run : act;

/** What became of an act. */
interface Acted {
  waited: boolean;
  /** The code of its error. */
  error?: string;
}

/** Where races are played: connections of its own for the others. */
export class Stage {
  readonly #database: TestDatabase;
  readonly #gate: Client;
  readonly #others: { client: Client; pid: number }[];

  private constructor(database: TestDatabase, gate: Client, others: { client: Client; pid: number }[]) {
    this.#database = database;
    this.#gate = gate;
    this.#others = others;
  }

  static async create(database: TestDatabase, others: number): Promise<Stage> {
    const gate = await database.client();
    await createHalt(gate);
    const connected = Array.from({ length: others }, async () => {
      const client = await database.client();
      return { client, pid: await pidOf(client) };
    });
    return new Stage(database, gate, await Promise.all(connected));
  }

  /** Runs up to a moment, lets others act, each on a connection of its own, and lets the run go on to its end. */
  async race(
    overrides: RunOverrides,
    moment: Moment,
    acts: string[],
    ending: Ending,
  ): Promise<{ result: RunResult; acted: Acted[] }> {
    const { connect, reached, resume } = await halting(this.#database.url, moment, this.#gate);
    let ended = false;
    const result = run(this.#database, { ...overrides, connect, limits: { lockTimeout: '60s' } }).finally(() => {
      ended = true;
    });
    await Promise.race([reached, result.then(({ message }) => Promise.reject(new Error(`did not halt: ${message}`)))]);
    const attempts = acts.map((act, i) => this.#attempt(i, act, ending));
    await soon('each has acted or waits', async () => {
      const waiting = await this.#waiting();
      return attempts.every(({ pid, settled }) => settled() || waiting.includes(pid));
    });
    const waited = attempts.map(({ settled }) => !settled());
    await resume();
    if (ending !== 'at once') await soon('the run has ended or waits', async () => ended || this.#keepsRunWaiting());
    const endOf = async ({ end }: (typeof attempts)[number], i: number): Promise<Acted> => {
      return { waited: waited[i]!, ...(await end()) };
    };
    // The run may wait for the first: when that one ends, all the others have ended.
    const others = await Promise.all(attempts.slice(1).map((attempt, i) => endOf(attempt, i + 1)));
    const acted = [await endOf(attempts[0]!, 0), ...others];
    return { result: await result, acted };
  }

  #attempt(i: number, act: string, ending: Ending) {
    const { client, pid } = this.#others[i]!;
    let settled = false;
    const outcome = (async () => {
      try {
        if (ending !== 'at once') await client.query('begin');
        await client.query(act);
        return {};
      } catch (error) {
        return { error: (error as { code: string }).code };
      } finally {
        settled = true;
      }
    })();
    const end = async () => {
      const done = await outcome;
      if (ending !== 'at once') await client.query(ending === 'committed later' ? 'commit' : 'rollback');
      return done;
    };
    return { pid, settled: () => settled, end };
  }

  /** The server processes that wait for a lock. */
  async #waiting(): Promise<number[]> {
    const { rows } = await this.#database.pool.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return rows.map((row) => row.pid);
  }

  /** True when the run waits for one of the others, and will not pass it over. */
  async #keepsRunWaiting(): Promise<boolean> {
    const { rowCount } = await this.#database.pool.query(
      `select from pg_stat_activity
        where datname = current_database() and query ~ '^select t\\.' and pg_blocking_pids(pid) && $1`,
      [this.#others.map(({ pid }) => pid)],
    );
    return rowCount! > 0;
  }
}

const soon = (what: string, ask: () => Promise<boolean>) => eventually(what, ask, { everyMs: 5 });
