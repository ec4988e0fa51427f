import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, DatabaseError } from 'pg';
import { addInstructions, emptyTables } from './data/due-rows.ts';
import { withClient } from './postgres/server.ts';
import { type RunOverrides, run } from './retention.ts';

const writers = 4;
/** Due instructions that are added at a time. */
const chunk = 40;
/**
 * Due instructions that no run has changed yet, at most; and of them, chosen at random, those that writers leave for later:
 * so inserts hit rows that a run comes to, is at, and has left, however fast writers and runs are.
 */
const backlog = 400;
const heldBack = 200;
/** Inserts after which all is checked and the tables are emptied: a run reads what earlier ones have archived. */
const roundInserts = 5_000;
const slowMs = 5;
const foreignKeyViolation = '23503';
const walks: RunOverrides['walk'][] = ['keyset', 'blocks', undefined];

/** What was done; `slow` inserts took longer than 5 ms, as those do that wait for a lock. */
interface TortureFigures {
  committed: number;
  refused: number;
  slow: number;
  deleted: number;
  archived: number;
  runs: number;
  seconds: number;
}

/** An acknowledgement whose insert returned. */
interface Committed {
  acknowledgement: string;
  instruction: string;
}

/**
 * Tries `inserts` acknowledgements of due instructions, in several sessions as fast as they can, while cleanups run back
 * to back. Empties the tables first. Throws if an acknowledgement was lost, or if anything failed but an insert that the
 * foreign key refused.
 */
export async function torture(url: string, inserts: number): Promise<TortureFigures> {
  const figures = { committed: 0, refused: 0, slow: 0, deleted: 0, archived: 0, runs: 0, seconds: 0 };
  const started = performance.now();
  for (let done = 0; done < inserts; done += roundInserts) {
    await withClient(url, emptyTables);
    const committed = await race(url, Math.min(roundInserts, inserts - done), figures);
    await withClient(url, (client) => expectKept(client, committed));
    figures.committed += committed.length;
  }
  figures.seconds = (performance.now() - started) / 1000;
  return figures;
}

/** Throws if one of these acknowledgements, or its instruction, is not in the tables. */
export async function expectKept(client: Pick<Client, 'query'>, committed: readonly Committed[]): Promise<void> {
  const { rows } = await client.query<{ acknowledgement: string }>(
    `select c.acknowledgement
       from unnest($1::uuid[], $2::uuid[]) c (acknowledgement, instruction)
      where not exists (select from agentinstructionacknowledgement a
                          join agentinstruction i on i.instruction_id = a.instruction_id
                         where a.acknowledgement_id = c.acknowledgement and a.instruction_id = c.instruction)`,
    [committed.map((one) => one.acknowledgement), committed.map((one) => one.instruction)],
  );
  if (rows.length === 0) return;
  const some = rows.slice(0, 10).map((row) => row.acknowledgement);
  throw new Error(`${rows.length} of ${committed.length} committed acknowledgements are lost: ${some.join(', ')}`);
}

/** Writers against cleanups, until `inserts` were tried; the acknowledgements that were committed. */
async function race(url: string, inserts: number, figures: TortureFigures): Promise<Committed[]> {
  const committed: Committed[] = [];
  const targets: string[] = [];
  let [left, added, cleaned] = [inserts, 0, 0];
  const write = async (client: Client) => {
    while (left > 0) {
      if (targets.length > heldBack) {
        left -= 1;
        const [instruction] = targets.splice(Math.floor(Math.random() * targets.length), 1) as [string];
        const sent = performance.now();
        const acknowledgement = await acknowledge(client, instruction);
        if (performance.now() - sent > slowMs) figures.slow += 1;
        if (acknowledgement === undefined) figures.refused += 1;
        else committed.push({ acknowledgement, instruction });
      } else if (added - cleaned < backlog) {
        added += chunk;
        targets.push(...(await addInstructions(client, chunk)));
      } else {
        await sleep(1);
      }
    }
  };
  const clean = async () => {
    while (left > 0) {
      const before = cleaned;
      await tinyRun(url, figures, ({ rows }) => {
        cleaned = before + rows;
      });
    }
  };
  const work = [clean(), ...Array.from({ length: writers }, () => withClient(url, write))];
  // Whoever fails ends it for all; nobody is left at work when this ends.
  const ended = await Promise.allSettled(
    work.map((part) =>
      part.catch((error: unknown) => {
        left = 0;
        throw error;
      }),
    ),
  );
  const failed = ended.find((part) => part.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return committed;
}

/** A run with the smallest of batches, by each walk in turn. */
async function tinyRun(url: string, figures: TortureFigures, onProgress: RunOverrides['onProgress']): Promise<void> {
  const walk = walks[figures.runs % walks.length];
  const cleanup = {
    operations: ['instructions'],
    retention: { batchSize: 10 },
    walk,
    onProgress,
  } satisfies RunOverrides;
  const { result, operations, message } = await run({ url }, cleanup);
  // Rows become due for as long as it is at work: its budget ends a run that has fallen behind.
  const overBudget = result === 'Partial' && message?.startsWith('instructions: more rows became due');
  if (result !== 'Succeeded' && !overBudget) throw new Error(`a run ended as ${result}: ${message}`);
  figures.runs += 1;
  figures.deleted += operations[0]?.deleted ?? 0;
  figures.archived += operations[0]?.archived ?? 0;
}

/** The id of a new acknowledgement, of now; undefined if the foreign key refused it, its instruction being gone. */
export async function acknowledge(client: Client, instruction: string): Promise<string | undefined> {
  try {
    const { rows } = await client.query<{ id: string }>(
      `insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status)
       values ($1, 'agent', 'session', 'processed')
       returning acknowledgement_id as id`,
      [instruction],
    );
    return rows[0]!.id;
  } catch (error) {
    if (error instanceof DatabaseError && error.code === foreignKeyViolation) return undefined;
    throw error;
  }
}
