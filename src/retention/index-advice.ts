import type pg from 'pg';
import { escapeIdentifier } from 'pg';
import type { IndexAdvice } from '../api/run-result.ts';
import type { CleanupOperation } from '../api/spec.ts';
import { pinnedPath } from '../database/session.ts';
import { countQuery } from './count.ts';
import { explain, type PlanNode } from './explain.ts';
import { payloadArchived, payloadNotArchived } from './instructions.ts';
import type { Changes, Operation } from './operation.ts';
import type { RunOptions } from './options.ts';
import { hasContent, parametersArchived } from './sessions.ts';
import { type Tables, tableNames } from './tables.ts';

/**
 * From which cost, in the planner's units, reading a table is worth an index: about that of 80 MB in sequence, a tenth of
 * a second from memory and up to a second from a disk. Below that nobody notices.
 */
const noticeableCost = 10_000;
/** So many times the rows due must be read: a first run's backlog is better worked off without another index. */
const rowsReadPerRowDue = 10;

/** An index with which one of an operation's counts follows the rows due, not the rows kept. */
interface Candidate {
  operation: CleanupOperation;
  action: keyof Changes;
  table: (typeof tableNames)[keyof typeof tableNames];
  name: string;
  /** Columns and condition. The condition must be the operation's own, or the planner does not see that it fits. */
  definition: string;
  /**
   * What tells the planner how few rows the condition leaves. Without it it expects nearly all, and passes the index by
   * unless it can do without the table.
   */
  statistics?: { name: string; expression: string };
  /** What it finds, and how, in words for people. */
  rows: string;
  effect: string;
}

const costOfArchiving =
  'leaves out the archived ones. While it is there, archiving a row writes to every index of the table (no HOT update), so work off a large backlog first';

const candidates: readonly Candidate[] = [
  {
    operation: 'instructions',
    action: 'deleted',
    table: tableNames.instruction,
    name: 'retention_instruction_acknowledged',
    definition: '(instruction_id) include (created_at, id, status)',
    rows: 'instructions without acknowledgements',
    effect: 'can be joined with the acknowledgements without reading the table',
  },
  {
    operation: 'instructions',
    action: 'archived',
    table: tableNames.instruction,
    name: 'retention_instruction_to_archive',
    definition: `(created_at, id) include (instruction_id, status) where ${payloadNotArchived('')}`,
    statistics: { name: 'retention_instruction_note', expression: payloadArchived('') },
    rows: 'instructions to archive',
    effect: costOfArchiving,
  },
  {
    operation: 'sessions',
    action: 'archived',
    table: tableNames.session,
    name: 'retention_session_to_archive',
    definition: `(ended_at, id) include (status) where ${hasContent('')}`,
    statistics: { name: 'retention_session_note', expression: parametersArchived('') },
    rows: 'sessions to archive',
    effect: costOfArchiving,
  },
];

/** An operation whose due rows were counted in the client's snapshot; not with `error`. */
interface Counted {
  operation: Operation;
  changes: Changes;
  error?: string;
}

/**
 * The indexes that would save these operations' counts much reading, by the planner's own word on the very statements.
 * Reads the catalog and three plans, a few milliseconds. Advice is never worth a run: where it cannot be had there is
 * none, and the log says why.
 */
export async function adviseIndexes(
  client: pg.Client,
  tables: Tables,
  counted: readonly Counted[],
  log: RunOptions['log'],
): Promise<IndexAdvice[]> {
  await client.query('savepoint advice');
  try {
    const there = await readCatalog(client, tables);
    const advice: IndexAdvice[] = [];
    for (const candidate of candidates) {
      const { operation, changes, error } = counted.find((each) => each.operation.name === candidate.operation) ?? {};
      if (operation === undefined || changes === undefined || error !== undefined) continue;
      const statements = missingStatements(candidate, operation, tables, there);
      if (statements.length === 0) continue;
      const step = operation.steps.find(({ action }) => action === candidate.action)!;
      const plan = await explain(client, countQuery(operation, step));
      const saving = savingOf(candidate, plan, changes[candidate.action] ?? 0, there);
      if (saving !== undefined) advice.push({ table: candidate.table, statements, saving });
    }
    return advice;
  } catch (error) {
    await client.query('rollback to savepoint advice');
    log.warn({ message: (error as Error).message }, 'no index can be advised');
    return [];
  }
}

/** Names of the advised indexes that an interrupted build has left in the schema: not valid, yet written to. */
export async function brokenIndexes(client: pg.Client, tables: Tables): Promise<string[]> {
  await client.query(`begin; set local search_path to ${pinnedPath}`);
  const there = await readCatalog(client, tables).finally(() => client.query('rollback'));
  return candidates.map(({ name }) => name).filter((name) => there.get(name)?.valid === false);
}

/** SQL that removes one of the indexes. */
export function dropStatement(tables: Tables, name: string): string {
  return `drop index concurrently ${escapeIdentifier(tables.schema)}.${escapeIdentifier(name)}`;
}

/** Indexes, and statistics, of the agent tables by name. */
type Catalog = ReadonlyMap<string, { valid: boolean; partial: boolean; locked: boolean }>;

async function readCatalog(client: pg.Client, tables: Tables): Promise<Catalog> {
  const { rows } = await client.query<{ name: string; valid: boolean; partial: boolean; locked: boolean }>(
    `select c.relname::text as name, x.indisvalid as valid, x.indpred is not null as partial,
            -- What builds an index holds this lock on its table.
            not x.indisvalid and exists
              (select from pg_locks l
                where l.relation = x.indrelid and l.mode = 'ShareUpdateExclusiveLock'
                  and l.database = (select oid from pg_database where datname = current_database())) as locked
       from pg_index x
       join pg_class c on c.oid = x.indexrelid
      where x.indrelid = any($1::regclass[])
      union all
     select s.stxname::text, true, false, false
       from pg_statistic_ext s
      where s.stxrelid = any($1::regclass[])`,
    [[tables.instruction, tables.session]],
  );
  return new Map(rows.map(({ name, ...rest }) => [name, rest]));
}

/** What makes the candidate, less what is there; nothing while it is being built. */
function missingStatements(
  { name, definition, statistics }: Candidate,
  { table }: Operation,
  tables: Tables,
  there: Catalog,
): string[] {
  const index = there.get(name);
  if (index?.locked) return [];
  const statements = [
    // `if not exists` would take the broken one for the index.
    ...(index?.valid === false ? [dropStatement(tables, name)] : []),
    ...(index?.valid
      ? []
      : [`create index concurrently if not exists ${escapeIdentifier(name)} on ${table} ${definition}`]),
  ];
  if (statistics === undefined) return statements;
  if (!there.has(statistics.name)) {
    const qualified = `${escapeIdentifier(tables.schema)}.${escapeIdentifier(statistics.name)}`;
    statements.push(`create statistics if not exists ${qualified} on (${statistics.expression}) from ${table}`);
  }
  return statements.length === 0 ? [] : [...statements, `analyze ${table}`];
}

const number = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** A sentence on what the index would save; undefined if too little, or if the planner has something as good already. */
function savingOf(
  { table, rows, statistics, effect }: Candidate,
  plan: PlanNode,
  due: number,
  there: Catalog,
): string | undefined {
  const scan = nodesOf(plan).find((node) => node['Relation Name'] === table);
  if (scan === undefined || scan['Total Cost'] < noticeableCost) return undefined;
  if (scan['Plan Rows'] < due * rowsReadPerRowDue) return undefined;
  const asGood =
    statistics === undefined
      ? scan['Node Type'] === 'Index Only Scan'
      : nodesOf(scan).some((node) => there.get(node['Index Name'] ?? '')?.partial);
  if (asGood) return undefined;
  const read = `reads ${number.format(scan['Plan Rows'])} rows or more by the planner's estimate (cost ${number.format(scan['Total Cost'])})`;
  return `finding the ${number.format(due)} ${rows} ${read}; an index ${effect}`;
}

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];
