import type { Pool } from 'pg';
import type { EffectiveRetention } from '../../src/api/effective.ts';
import { type AgentTable, agentTables } from './data/checksum.ts';

/** A value as PostgreSQL writes it, or JSON that a column must hold in whatever order of keys. */
type Cell = string | null | { json: unknown };
type Row = Record<string, Cell>;
/** All rows of the agent tables by primary key. */
export type Snapshot = Record<AgentTable, Map<string, Row>>;

export const tableOf = {
  connections: 'agentconnection',
  instructions: 'agentinstruction',
  sessions: 'agentsession',
  acknowledgements: 'agentinstructionacknowledgement',
} as const;
type OperationName = keyof typeof tableOf;

/** Reads every row of the agent tables, all values as text, times in UTC. */
export async function snapshot(pool: Pool): Promise<Snapshot> {
  const read = async (table: AgentTable) => {
    const key = table === 'agentinstructionacknowledgement' ? 'acknowledgement_id' : 'id';
    const asText = { getTypeParser: () => (value: string) => value };
    const { rows } = await pool.query<Row>({ text: `select * from ${table}`, types: asText });
    return new Map(rows.map((row) => [row[key] as string, row]));
  };
  const entries = [];
  for (const table of agentTables) entries.push([table, await read(table)] as const);
  return Object.fromEntries(entries) as Snapshot;
}

/** Microseconds since 1970 of a time in UTC; bigint, since a Date would lose the microseconds. */
function microseconds(text: string): bigint {
  const [, second, fraction = ''] = /^([0-9-]+[ T][0-9:]+)(?:\.([0-9]+))?(?:\+00|Z)?$/.exec(text)!;
  return BigInt(Date.parse(`${second!.replace(' ', 'T')}Z`)) * 1000n + BigInt(fraction.padEnd(6, '0'));
}

/** undefined for SQL NULL, null for JSON null. */
const json = (cell: Cell): unknown => (typeof cell === 'string' ? JSON.parse(cell) : undefined);
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isNote = (value: unknown, keys: readonly string[]) =>
  isObject(value) &&
  value.archived === true &&
  typeof value.archived_at === 'string' &&
  Object.keys(value).sort().join() === keys.join();
const isArchived = (payload: unknown) => isNote(payload, ['archived', 'archived_at']);
const isArchivedSession = (parameters: unknown) => isNote(parameters, ['archived', 'archived_at', 'parameter_count']);
const isEmpty = (value: unknown) =>
  value === undefined || value === null || ['{}', '[]'].includes(JSON.stringify(value));

/**
 * What the tables must hold after the operations, computed from the rules of design section 3 without SQL. For columns
 * written in UTC.
 */
export function expectedAfter(
  before: Snapshot,
  retention: EffectiveRetention,
  instant: string,
  operations: readonly OperationName[],
): Snapshot {
  const after = Object.fromEntries(agentTables.map((table) => [table, new Map(before[table])])) as Snapshot;
  const hours = (count: number) => microseconds(instant) - BigInt(count) * 3_600_000_000n;
  const olderThan = (cell: Cell | undefined, cutoff: bigint) => typeof cell === 'string' && microseconds(cell) < cutoff;
  const has = (list: readonly string[], cell: Cell | undefined) => list.includes(String(cell));

  const rules: Record<OperationName, () => void> = {
    connections() {
      for (const [id, row] of after.agentconnection) {
        if (row.status !== 'active' || !olderThan(row.last_heartbeat_at, hours(retention.connectionCleanupHours)))
          continue;
        const zone = String(row.last_heartbeat_at).endsWith('+00') ? '+00' : '';
        const closed_at = instant.replace('T', ' ').replace('Z', zone);
        const close_reason = `Stale connection cleanup after ${retention.connectionCleanupHours}h`;
        after.agentconnection.set(id, { ...row, status: 'timeout', closed_at, close_reason });
      }
    },
    instructions() {
      const acknowledged = new Set(
        [...after.agentinstructionacknowledgement.values()].map((row) => row.instruction_id),
      );
      for (const [id, row] of after.agentinstruction) {
        if (!has(retention.statuses.instructions, row.status)) continue;
        if (!olderThan(row.created_at, hours(retention.instructionRetentionDays * 24))) continue;
        if (!acknowledged.has(row.instruction_id!)) after.agentinstruction.delete(id);
        else if (!isArchived(json(row.payload!))) after.agentinstruction.set(id, archivedInstruction(row, instant));
      }
    },
    sessions() {
      for (const [id, row] of after.agentsession) {
        const parameters = json(row.experimental_parameters!);
        if (!has(retention.statuses.sessions, row.status) || isEmpty(parameters) || isArchivedSession(parameters))
          continue;
        if (!olderThan(row.ended_at, hours(retention.completedSessionRetentionDays * 24))) continue;
        const parameter_count = isObject(parameters) || Array.isArray(parameters) ? Object.keys(parameters).length : 1;
        const archived = { archived: true, archived_at: instant, parameter_count };
        after.agentsession.set(id, { ...row, experimental_parameters: { json: archived } });
      }
    },
    acknowledgements() {
      for (const [id, row] of after.agentinstructionacknowledgement) {
        if (olderThan(row.created_at, hours(retention.acknowledgementRetentionDays * 24))) {
          after.agentinstructionacknowledgement.delete(id);
        }
      }
    },
  };
  for (const operation of operations) rules[operation]();
  return after;
}

function archivedInstruction(row: Row, instant: string): Row {
  const metadata = json(row.instruction_metadata!);
  const kept = isObject(metadata) ? metadata : (metadata ?? null) === null ? {} : { original_metadata: metadata };
  const original_payload_size = row.payload === null ? 0 : Buffer.byteLength(row.payload as string);
  return {
    ...row,
    payload: { json: { archived: true, archived_at: instant } },
    instruction_metadata: { json: { ...kept, archived: true, original_payload_size } },
  };
}

/** What `operation` did between two snapshots of its table, by id. */
export function changed(before: Snapshot, after: Snapshot, operation: OperationName) {
  const [old, now] = [before[tableOf[operation]], after[tableOf[operation]]];
  const deleted = [...old.keys()].filter((id) => !now.has(id));
  const altered = [...now].filter(([id, row]) => old.get(id) !== row).map(([id]) => id);
  return { deleted, altered };
}

/** The first cells and rows in which tables are not what they must be; empty if they are. */
export function differences(actual: Snapshot, expected: Snapshot): string[] {
  const found: string[] = [];
  for (const table of agentTables) {
    for (const [id, row] of actual[table]) {
      const wanted = expected[table].get(id);
      if (wanted === undefined) found.push(`${table} ${id} is there and must not be: ${JSON.stringify(row)}`);
      else found.push(...differingCells(row, wanted).map((text) => `${table} ${id} ${text}`));
    }
    for (const id of expected[table].keys()) if (!actual[table].has(id)) found.push(`${table} ${id} is gone`);
  }
  return found.slice(0, 10);
}

function differingCells(row: Row, wanted: Row): string[] {
  return Object.entries(wanted)
    .filter(([column, cell]) => !sameCell(row[column], cell))
    .map(([column, cell]) => `${column} is ${row[column]}, must be ${JSON.stringify(cell)}`);
}

function sameCell(actual: Cell | undefined, wanted: Cell): boolean {
  if (typeof wanted !== 'object' || wanted === null) return actual === wanted;
  return typeof actual === 'string' && sorted(JSON.parse(actual)) === sorted(wanted.json);
}

/** JSON with the keys of every object in order. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    isObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner,
  );
}
