import type { Client } from 'pg';
import type { RunOptions } from '../../../src/retention/options.ts';
import { intercepting } from '../retention.ts';
import { statements } from '../statements.ts';

/** A point of a run, at which it can be made to stand still while others act. */
export interface Moment {
  name: string;
  /** Which of the run's statements, by number. */
  statement: number;
  /** True in the middle of the statement: its snapshot is taken, no row is locked yet. False before it is sent. */
  inside: boolean;
}

/** A run's statements by number, over all its connections. */
export type Trace = readonly string[];

/** A connector whose runs stand still at a moment. */
export interface Halting {
  connect: RunOptions['connect'];
  /** Resolves when a run stands there. */
  reached: Promise<void>;
  resume(): Promise<void>;
}

const looks = ['the look', 'the list'];
const touching: [name: string, form: RegExp][] = [
  ['the look', statements.look],
  ['the list', statements.list],
  ['the lock for update', /for update of t skip locked$/],
  ['the lock for no key update', /for no key update of t skip locked$/],
  ['the second look', statements.lookAgain],
  ['the delete', /^delete from "public"\./],
  ['the update', /^update "public"\./],
];

/** A connector that writes down the statements of a run. */
export function recording(url: string): { connect: RunOptions['connect']; trace: Trace } {
  const trace: string[] = [];
  const connect = intercepting(url, (text) => {
    trace.push(text);
    return text;
  });
  return { connect, trace };
}

/**
 * Every moment at which it matters what others do: before and inside each statement on rows, and before the commit of
 * those that lock some.
 */
export function momentsOf(trace: Trace): Moment[] {
  let uncommitted: string | undefined;
  return trace.flatMap((text, statement): Moment[] => {
    const name = touching.find(([, form]) => form.test(text))?.[0];
    if (name !== undefined) {
      uncommitted = name;
      return [false, true].map((inside) => ({ name: `${inside ? 'inside' : 'before'} ${name}`, statement, inside }));
    }
    if (text !== 'commit' || uncommitted === undefined) return [];
    const committed = uncommitted;
    uncommitted = undefined;
    return looks.includes(committed)
      ? []
      : [{ name: `before the commit after ${committed}`, statement, inside: false }];
  });
}

/** Makes the function on which statements halt: for as long as somebody holds an advisory lock. */
export async function createHalt(client: Client): Promise<void> {
  // It tries again and again, since waiting for the lock would be ended by lock_timeout.
  await client.query(
    `create function public.halt() returns boolean language plpgsql as $$
     begin
       raise notice 'halted';
       while not pg_try_advisory_xact_lock_shared(1) loop perform pg_sleep(0.002); end loop;
       return true;
     end $$`,
  );
}

/** The statement, made to halt when it has its snapshot. */
export function withHalt(text: string): string {
  return text.replace(/\bwhere /, 'where (select public.halt()) and ');
}

/** A connector whose runs halt at the moment. `gate` is a connection for nothing else until `resume`. */
export async function halting(url: string, moment: Moment, gate: Client): Promise<Halting> {
  const reached = Promise.withResolvers<void>();
  const resumed = Promise.withResolvers<void>();
  await gate.query('begin');
  await gate.query('select pg_advisory_xact_lock(1)');
  let statement = 0;
  return {
    reached: reached.promise,
    async resume() {
      await gate.query('commit');
      resumed.resolve();
    },
    connect: intercepting(url, async (text, client) => {
      if (statement++ !== moment.statement) return text;
      if (moment.inside) {
        client.once('notice', () => reached.resolve());
        return withHalt(text);
      }
      reached.resolve();
      await resumed.promise;
      return text;
    }),
  };
}
