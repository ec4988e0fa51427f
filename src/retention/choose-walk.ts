import type pg from 'pg';
import { rowsInBlocks } from './batch.ts';
import { costOf, type Query } from './explain.ts';
import { pageQuery } from './keyset-walk.ts';
import { type Changes, type Operation, rowsOf, type Step } from './operation.ts';
import type { Walk } from './walk.ts';

/** Blocks below which nobody notices the order: 1 MB. */
const smallTable = 128;

/** A table as a walk along its blocks sees it. */
export interface TableSize {
  blocks: number;
  rowsPerBlock: number;
}

/**
 * The table's size if a backlog of `due` rows is cheaper to change block by block than along the keyset, as the planner
 * sees one batch of each; undefined if not. One batch's worth of rows is no backlog, and the places of rows in a
 * partitioned table are not unique. `order` asks for it whatever it costs.
 */
export function blocksToWalk(walk: Walk, due: Changes, order?: 'blocks'): Promise<TableSize | undefined> {
  const { session, settings, operation, pace } = walk;
  if (order === undefined && rowsOf(due) <= pace.rows) return Promise.resolve(undefined);
  return session.transaction(settings, async (client) => {
    const { plain, blocks, rowsPerBlock } = await sizeOf(client, operation.table);
    if (!plain) return undefined;
    if (order === 'blocks') return { blocks, rowsPerBlock };
    if (blocks < smallTable || pace.rows < rowsPerBlock) return undefined;
    const blocksPerBatch = Math.min(blocks, Math.ceil(pace.rows / rowsPerBlock));
    let [alongKeyset, alongBlocks] = [0, 0];
    for (const step of operation.steps) {
      const stepDue = due[step.action] ?? 0;
      const page = await costOf(client, pageQuery(operation, step, pace.rows));
      const stretch = await costOf(client, blocksQuery(operation, step, blocksPerBatch));
      // Its rows are read twice: to look for them, and by key to lock them.
      alongKeyset += 2 * page * (stepDue / pace.rows);
      alongBlocks += stretch * (blocks / blocksPerBatch);
    }
    return alongBlocks < alongKeyset ? { blocks, rowsPerBlock } : undefined;
  });
}

/** Size of a table now, and the planner's idea of how many rows there are to a block. */
async function sizeOf(client: pg.Client, table: string): Promise<TableSize & { plain: boolean }> {
  const { rows } = await client.query<{ plain: boolean; blocks: string; rowsPerBlock: number }>(
    `select c.relkind = 'r' as plain,
            pg_relation_size(c.oid) / current_setting('block_size')::int as blocks,
            greatest(c.reltuples / greatest(c.relpages, 1), 1) as "rowsPerBlock"
       from pg_class c
      where c.oid = $1::regclass`,
    [table],
  );
  const { plain, blocks, rowsPerBlock } = rows[0]!;
  return { plain, blocks: Number(blocks), rowsPerBlock };
}

function blocksQuery(o: Operation, { due }: Step, blocks: number): Query {
  const rows = rowsInBlocks(0, blocks);
  return {
    text: `select from ${o.table} t where ${rows.where(o.dueParameters.length + 1)} and ${due}`,
    values: [...o.dueParameters, ...rows.parameters],
  };
}
