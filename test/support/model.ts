/** The parts of a policy that decide what a run does. */
export interface Policy {
  connectionCleanupHours: number;
  instructionRetentionDays: number;
  completedSessionRetentionDays: number;
  acknowledgementRetentionDays: number;
  statuses: { sessions: readonly string[]; instructions: readonly string[] };
}

/** JSON as jsonb writes it, null for SQL NULL. */
type JsonText = string | null;
/** Hours after the origin of the model's time; negative before. */
type Hours = number;

interface SessionRow {
  status: string;
  endedAt: Hours | null;
  parameters: JsonText;
}
interface InstructionRow {
  status: string;
  createdAt: Hours;
  payload: JsonText;
  metadata: JsonText;
}
interface ConnectionRow {
  status: string;
  heartbeatAt: Hours;
  closedAt: Hours | null;
  closeReason: string | null;
}
interface AcknowledgementRow {
  instruction: string;
  createdAt: Hours;
}

/** Rows that a run changed, by operation and action. */
export type Counts = Record<string, Record<string, number>>;

const origin = Date.UTC(2026, 0, 1);

/** A time of the model as a run's instant is written: UTC, microseconds. */
export function timeText(hours: Hours): string {
  return new Date(origin + hours * 3_600_000).toISOString().replace('Z', '000Z');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** SQL NULL and JSON null are both null. */
const parsed = (text: JsonText): unknown => (text === null ? null : JSON.parse(text));

/** Whether it is a run's own note, by its keys; the application writes none of these. */
function isArchived(text: JsonText, ...others: string[]): boolean {
  const value = parsed(text);
  return isObject(value) && Object.keys(value).sort().join() === ['archived', 'archived_at', ...others].join();
}

/**
 * The agent tables and a policy in memory, with what design section 3 says a run does to them; rows by their public ids.
 * Knows nothing of SQL, batches and walks.
 */
export class Model {
  now: Hours = 0;
  policy: Policy;
  readonly sessions = new Map<string, SessionRow>();
  readonly instructions = new Map<string, InstructionRow>();
  readonly connections = new Map<string, ConnectionRow>();
  readonly acknowledgements = new Map<string, AcknowledgementRow>();

  constructor(policy: Policy) {
    this.policy = policy;
  }

  /** A copy, for what would be. */
  clone(): Model {
    const copy = new Model(this.policy);
    copy.now = this.now;
    for (const table of ['sessions', 'instructions', 'connections', 'acknowledgements'] as const) {
      for (const [id, row] of this[table]) (copy[table] as Map<string, object>).set(id, { ...row });
    }
    return copy;
  }

  /** A full cleanup now. */
  run(): Counts {
    const keepsAuditTrail = this.policy.acknowledgementRetentionDays >= 2555;
    return {
      connections: this.#closeConnections(),
      instructions: this.#cleanInstructions(),
      sessions: this.#archiveSessions(),
      ...(keepsAuditTrail ? {} : { acknowledgements: this.#deleteAcknowledgements() }),
    };
  }

  #closeConnections() {
    const hours = this.policy.connectionCleanupHours;
    let closed = 0;
    for (const row of this.connections.values()) {
      if (row.status !== 'active' || row.heartbeatAt >= this.now - hours) continue;
      row.status = 'timeout';
      row.closedAt = this.now;
      row.closeReason = `Stale connection cleanup after ${hours}h`;
      closed += 1;
    }
    return { closed };
  }

  #cleanInstructions() {
    const acknowledged = new Set([...this.acknowledgements.values()].map(({ instruction }) => instruction));
    let [deleted, archived] = [0, 0];
    for (const [id, row] of this.instructions) {
      if (!this.policy.statuses.instructions.includes(row.status)) continue;
      if (row.createdAt >= this.#daysAgo(this.policy.instructionRetentionDays)) continue;
      if (!acknowledged.has(id)) {
        this.instructions.delete(id);
        deleted += 1;
      } else if (!isArchived(row.payload)) {
        this.#archiveInstruction(row);
        archived += 1;
      }
    }
    return { deleted, archived };
  }

  #archiveInstruction(row: InstructionRow) {
    const metadata = parsed(row.metadata);
    const kept = isObject(metadata) ? metadata : metadata === null ? {} : { original_metadata: metadata };
    const original_payload_size = Buffer.byteLength(row.payload ?? '');
    row.metadata = JSON.stringify({ ...kept, archived: true, original_payload_size });
    row.payload = JSON.stringify({ archived: true, archived_at: timeText(this.now) });
  }

  #archiveSessions() {
    let archived = 0;
    for (const row of this.sessions.values()) {
      if (!this.policy.statuses.sessions.includes(row.status) || row.endedAt === null) continue;
      if (row.endedAt >= this.#daysAgo(this.policy.completedSessionRetentionDays)) continue;
      const value = parsed(row.parameters);
      const count = typeof value === 'object' && value !== null ? Object.keys(value).length : 1;
      if (value === null || count === 0 || isArchived(row.parameters, 'parameter_count')) continue;
      row.parameters = JSON.stringify({ archived: true, archived_at: timeText(this.now), parameter_count: count });
      archived += 1;
    }
    return { archived };
  }

  #deleteAcknowledgements() {
    const cutoff = this.#daysAgo(this.policy.acknowledgementRetentionDays);
    let deleted = 0;
    for (const [id, { createdAt }] of this.acknowledgements) {
      if (createdAt < cutoff && this.acknowledgements.delete(id)) deleted += 1;
    }
    return { deleted };
  }

  #daysAgo(days: number): Hours {
    return this.now - days * 24;
  }
}
