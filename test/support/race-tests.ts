import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { CleanupOperation } from '../../src/api/spec.ts';
import type { RunOptions } from '../../src/retention/options.ts';
import type { Queryable } from './data/due-rows.ts';
import { createDatabase, type TestDatabase } from './postgres/database.ts';
import { type Moment, momentsOf, recording, type Trace } from './postgres/moments.ts';
import { expectNothingLeft } from './postgres/sessions.ts';
import { type Ending, endings, type Part, Stage, When } from './races.ts';
import { run } from './retention.ts';

// Not truncated, which takes a hundred times as long.
const tables = ['agentinstructionacknowledgement', 'agentinstruction', 'agentconnection', 'agentsession'];

type WalkName = NonNullable<RunOptions['walk']>;

export interface Races {
  operation: CleanupOperation;
  parts: readonly Part[];
  /** What has become of a part's row, in words. */
  stateOf(client: Queryable, row: string): Promise<string>;
  /** The states in which the next run leaves rows, where that is another one than it finds them in. */
  afterNext?: Record<string, string>;
}

/** Tests that play every part at every moment of a run, by every walk and on both forms of the foreign keys. */
export function testRaces(races: Races): void {
  describe.each(['cascade', 'no-action'] as const)(`${races.operation} with foreign keys %s`, (template) => {
    describe.each(walksOf(races.operation))('by the walk %s', (walk) => {
      const options = { operations: [races.operation], walk } as const;
      let database: TestDatabase;
      let stage: Stage;
      let trace: Trace;
      let moments: Moment[];

      beforeAll(async () => {
        database = await createDatabase({ template });
        stage = await Stage.create(database, races.parts.length);
        await addRows();
        const recorded = recording(database.url);
        await run(database, { ...options, connect: recorded.connect });
        trace = recorded.trace;
        moments = momentsOf(trace);
      });
      afterEach(() => expectNothingLeft(database));
      afterAll(() => database?.drop());

      /** The parts' rows, alone in the tables. */
      async function addRows(): Promise<string[]> {
        for (const table of tables) await database.pool.query(`delete from ${table}`);
        const rows = [];
        for (const part of races.parts) rows.push(await part.add(database.pool));
        return rows;
      }

      async function played(moment: Moment, ending: Ending) {
        const rows = await addRows();
        const acts = races.parts.map((part, i) => part.act(rows[i]!));
        const { result, acted } = await stage.race(options, moment, acts, ending);
        expect(result).toMatchObject({ result: 'Succeeded', operations: [{ skipped: 0 }] });
        const states = () => Promise.all(rows.map((row) => races.stateOf(database.pool, row)));
        const first = await states();
        await run(database, options);
        const second = await states();
        return races.parts.map(({ name }, i) => ({ name, ...acted[i]!, state: first[i]!, afterNext: second[i]! }));
      }

      function expected(moment: Moment, ending: Ending) {
        const when = new When(moment, trace);
        return races.parts.map((part) => {
          const state = part.expected(when, ending);
          return {
            name: part.name,
            waited: part.waitsFor !== undefined && when.during(part.waitsFor),
            ...(part.refused?.(when) ? { error: '23503' } : {}),
            state,
            afterNext: races.afterNext?.[state] ?? state,
          };
        });
      }

      test('no moment is left out', () => {
        expect(moments.map(({ name }) => name)).toEqual(allMoments(races.operation, walk));
      });

      test.each(endings)(
        'at every moment, others that end %s get what is theirs, and the run the rest',
        async (ending) => {
          const actual: Record<string, unknown> = {};
          const wanted: Record<string, unknown> = {};
          for (const [index, moment] of moments.entries()) {
            const name = `${index + 1}. ${moment.name}`;
            actual[name] = await played(moment, ending);
            wanted[name] = expected(moment, ending);
          }
          expect(actual).toEqual(wanted);
        },
      );
    });
  });
}

const deleting = { lock: 'the lock for update', change: 'the delete' };
const changing = { lock: 'the lock for no key update', change: 'the update' };
const steps = {
  connections: [changing],
  instructions: [deleting, changing],
  sessions: [changing],
  acknowledgements: [deleting],
};

/** Rows that a statement lists differ from those it pages in how a second step finds its rows; others have one step. */
function walksOf(operation: CleanupOperation): readonly WalkName[] {
  return operation === 'instructions' ? ['keyset', 'list', 'blocks'] : ['keyset', 'blocks'];
}

function allMoments(operation: CleanupOperation, walk: WalkName): string[] {
  const around = (name: string) => [`before ${name}`, `inside ${name}`];
  const looks = { keyset: around('the look'), list: around('the list'), blocks: [] }[walk];
  return steps[operation].flatMap(({ lock, change }) => {
    // Along the blocks only rows that may get acknowledgements have to be locked first.
    const locksFirst = walk !== 'blocks' || (operation === 'instructions' && change === 'the delete');
    return [
      ...looks,
      ...(locksFirst ? around(lock) : []),
      ...(operation === 'instructions' && change === 'the delete' ? around('the second look') : []),
      ...around(change),
      `before the commit after ${change}`,
      // Only a look that finds nothing ends a walk along the keyset.
      ...(walk === 'keyset' ? looks : []),
    ];
  });
}
