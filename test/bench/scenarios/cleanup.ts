import type { Client } from 'pg';
import { eventually } from '../../support/eventually.ts';
import { withClient } from '../../support/postgres/server.ts';
import type { Cleanup, Contender } from '../contenders/contender.ts';
import { compareEndStates, type EndState, endState } from '../end-state.ts';
import { short } from '../markdown.ts';
import { say } from '../progress.ts';
import type { BenchServer } from '../server.ts';
import { walPosition, walSince } from '../wal.ts';

/** One contender's full cleanup of one clone. */
export interface CleanupRound extends Cleanup {
  walBytes: number;
  /** Updates of agentinstruction, and how many of them touched no index. */
  updates: number;
  hotUpdates: number;
}

/** Rounds by contender; the same number of each, taken in turns. */
export type CleanupRounds = Record<Contender['name'], CleanupRound[]>;

/** Lets the contenders clean up clones of a template in turns. Throws where they do not leave the same rows. */
export async function cleanupScenario(
  server: BenchServer,
  template: string,
  contenders: readonly Contender[],
  rounds: number,
): Promise<CleanupRounds> {
  const results: CleanupRounds = { runner: [], bulk: [], plpgsql: [] };
  let first: { name: string; state: EndState } | undefined;
  for (let round = 1; round <= rounds; round++) {
    for (const contender of contenders) {
      const url = await server.clone(template, contender.prepare);
      const { figures, state } = await measure(url, contender);
      await server.drop(url);
      first ??= { name: contender.name, state };
      compareEndStates(first, { name: contender.name, state });
      results[contender.name].push(figures);
      say(`cleanup, ${template}, round ${round} of ${rounds}: ${contender.name} ${short(figures.seconds)} s`);
    }
  }
  return results;
}

async function measure(url: string, contender: Contender): Promise<{ figures: CleanupRound; state: EndState }> {
  const from = await withClient(url, walPosition);
  const cleanup = await contender.run(url);
  return withClient(url, async (client) => {
    const walBytes = await walSince(client, from);
    const state = await endState(client);
    return { figures: { ...cleanup, walBytes, ...(await updatesOf(client)) }, state };
  });
}

/** Counters of the clone, which starts with none, once the server processes that have ended have added theirs. */
function updatesOf(client: Client): Promise<{ updates: number; hotUpdates: number }> {
  return eventually('the counters of agentinstruction', async () => {
    const { rows } = await client.query<{ updates: number; hotUpdates: number }>(
      `select n_tup_upd::float8 as updates, n_tup_hot_upd::float8 as "hotUpdates"
         from pg_stat_user_tables where relid = 'agentinstruction'::regclass and n_tup_upd > 0`,
    );
    return rows[0];
  });
}
