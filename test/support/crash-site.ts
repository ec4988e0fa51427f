import type { RunResult } from '../../src/api/run-result.ts';
import { defaultSilence } from '../../src/database/silence.ts';
import { type AgentTable, checksums } from './data/checksum.ts';
import type { TestDatabase } from './postgres/database.ts';
import { expectNothingLeft } from './postgres/sessions.ts';
import { type Boundaries, type Statement, StatementProxy } from './postgres/statement-proxy.ts';
import { connector, type RunOverrides, run } from './retention.ts';

// $1 stands for the run's instant. Something of each kind for each operation, the instructions on two pages. The one
// acknowledgement that is due is not its instruction's last: a second run would have to delete that instruction.
const rows = `
  insert into agentsession (session_id, agent_id, status, created_at, ended_at, last_activity_at, experimental_parameters)
  values ('old', 'agent', 'completed', '2001-01-01', '2001-01-02', '2001-01-02', '{"dose": 1, "mag": 2}'),
         ('young', 'agent', 'completed', $1, $1, $1, '{"dose": 1}');

  insert into agentinstruction (instruction_id, session_id, agent_id, instruction_type, payload, instruction_metadata,
    status, created_at)
  select ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'old', 'agent', 'move',
         case when n = 3 then '{"archived": true, "archived_at": "2001-02-01T00:00:00.000000Z"}'
              else jsonb_build_object('recipe', (select string_agg(md5(n || ' ' || i), '') from generate_series(1, 50) i)) end,
         case when n = 5 then '["first", "try"]'::jsonb end,
         case when n = 7 then 'pending' else 'completed' end,
         case when n = 6 then $1 else timestamp '2001-01-01' + n * interval '1 microsecond' end
    from generate_series(1, 7) n;

  insert into agentinstructionacknowledgement (acknowledgement_id, instruction_id, agent_id, session_id, status, created_at)
  select md5(n || ' ' || at)::uuid, ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'agent', 'old', 'processed', at
    from (values (2, $1), (4, '2001-01-02'), (4, $1), (5, $1)) made (n, at);

  insert into agentconnection (connection_id, session_id, agent_id, status, created_at, last_heartbeat_at)
  values ('stale', 'old', 'agent', 'active', '2001-01-01', '2001-01-01'),
         ('alive', 'old', 'agent', 'active', $1, $1);
`;

/** The statements of a run but for its last look at the tables, which comes when all that was asked for is done. */
export function untilAllIsDone(statements: readonly Statement[]): Statement[] {
  const flush = statements.findLastIndex(({ sql }) => /pg_logical_emit_message/.test(sql));
  return statements.slice(0, 1 + statements.findIndex(({ sql }, index) => index > flush && sql === 'commit'));
}

/** Those with foreign keys after those that they refer to. */
const tables: readonly AgentTable[] = [
  'agentsession',
  'agentinstruction',
  'agentinstructionacknowledgement',
  'agentconnection',
];

type Database = Pick<TestDatabase, 'url' | 'pool'>;

/** A few rows of which some are due: small enough to crash at each statement of a run over them. */
export class CrashSite {
  readonly database: Database;
  readonly #instant: string;

  private constructor(database: Database, instant: string) {
    this.database = database;
    this.#instant = instant;
  }

  /** Fills empty agent tables, and keeps a copy. Sites of the same instant hold the same rows. */
  static async prepare(database: Database, instant: string): Promise<CrashSite> {
    // Runs of the same rows are the same statements, as long as nobody renews the planner's estimates meanwhile.
    const still = tables.map((table) => `alter table ${table} set (autovacuum_enabled = false);`);
    const copies = tables.map((table) => `create table saved.${table} as table ${table};`);
    const literal = `timestamp '${instant.replace('Z', '')}'`;
    await database.pool.query(
      `${rows.replaceAll('$1', literal)} create schema saved; ${[...still, ...copies].join('\n')}`,
    );
    return new CrashSite(database, instant);
  }

  /** Puts all rows back to what and where they were: on empty pages. `truncate` would take ten times as long. */
  async restore(): Promise<void> {
    const { pool } = this.database;
    await pool.query(
      tables
        .map((table) => `delete from ${table};`)
        .reverse()
        .join('\n'),
    );
    await pool.query(`vacuum ${tables.join(', ')}`);
    await pool.query(tables.map((table) => `insert into ${table} select * from saved.${table};`).join('\n'));
  }

  /** Runs all operations in batches of about three rows; by way of a proxy where something is to happen at statements. */
  async run(overrides: RunOverrides = {}, boundaries?: Boundaries): Promise<RunResult> {
    const proxy = boundaries && (await StatementProxy.start(this.database.url, boundaries));
    try {
      return await run(this.database, {
        instant: this.#instant,
        // A walk along the blocks takes whole ones.
        retention: { batchSize: overrides.walk === 'blocks' ? 1 : 3 },
        retryPausesMs: [1, 1, 1, 1, 1],
        // Statements keep their numbers where no heartbeat comes between them.
        silence: { ...defaultSilence, askAfterMs: 3_600_000 },
        ...(proxy && { connect: connector(proxy.through(this.database.url)) }),
        ...overrides,
      });
    } finally {
      proxy?.stop();
    }
  }

  /** Waits until the server has noticed that the connections of a run are closed, and has rolled back what was open. */
  settled(applicationName?: string): Promise<void> {
    return expectNothingLeft(this.database, applicationName);
  }

  /** Checksums of what all four tables hold. */
  async state(): Promise<Record<AgentTable, string>> {
    const client = await this.database.pool.connect();
    try {
      return await checksums(client);
    } finally {
      client.release();
    }
  }

  /** As `state`, but for the times that runs have written, which are taken out of the rows. */
  async stateWithoutTimes(): Promise<Record<AgentTable, string>> {
    await this.database.pool.query(`
      update agentconnection set closed_at = null;
      update agentinstruction set payload = payload - 'archived_at' where payload ? 'archived_at';
      update agentsession set experimental_parameters = experimental_parameters - 'archived_at'
       where experimental_parameters ? 'archived_at'`);
    return this.state();
  }
}
