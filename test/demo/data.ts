import type { Client } from 'pg';
import { presetRetention } from '../../src/api/effective.ts';
import { grants } from '../../src/retention/grants.ts';
import { generate } from '../support/data/generator.ts';
import { loadSchema } from '../support/postgres/schema.ts';
import { databaseUrl, withClient } from '../support/postgres/server.ts';
import { startTlsPostgres } from '../support/postgres/tls.ts';
import { step } from './steps.ts';

/** The role that the runs log in as: it has what `retention grants` prints, and no more. */
const role = 'retention';
const password = 'demo-p@ss/word';

export interface DemoDatabase {
  /** For people: the superuser's URI. */
  adminUrl: string;
  /** For the policy's Secret: the least role's URI. */
  runnerUrl: string;
  ca: string;
  version: string;
  rowCounts(): Promise<string>;
  stop(): Promise<void>;
}

/** A PostgreSQL with TLS, the agent tables, and more than two years of records. */
export async function startDemoDatabase(): Promise<DemoDatabase> {
  const server = await step('starting PostgreSQL with TLS', startTlsPostgres);
  try {
    await withClient(server.adminUrl, (client) => client.query('create database smartem'));
    // The certificate is for this name, not for 127.0.0.1.
    const adminUrl = databaseUrl(server.adminUrl, 'smartem').replace('@127.0.0.1:', '@localhost:');
    await step('loading 20,000 instructions, their sessions, connections and acknowledgements', () =>
      withClient(adminUrl, fill),
    );
    const runnerUrl = new URL(adminUrl);
    runnerUrl.username = role;
    runnerUrl.password = encodeURIComponent(password);
    return {
      adminUrl,
      runnerUrl: runnerUrl.href,
      ca: server.ca,
      version: server.version,
      rowCounts: () => withClient(adminUrl, rowCounts),
      stop: server.stop,
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function fill(client: Client): Promise<void> {
  await loadSchema(client, 'no-action');
  await generate(client, { sessions: 1_000, instructions: 20_000, connections: 2_000, ageDays: 800 });
  await client.query(`create role ${client.escapeIdentifier(role)} login password ${client.escapeLiteral(password)}`);
  await client.query(grants(role, 'public', presetRetention('ScientificCompliance')));
}

async function rowCounts(client: Client): Promise<string> {
  const { rows } = await client.query<{ line: string }>(
    `select format('%-34s %7s', what, rows) as line
       from (select 1, 'connections active', count(*) from agentconnection where status = 'active'
             union all
             select 2, 'connections closed as timed out', count(*) from agentconnection where status = 'timeout'
             union all
             select 3, 'instructions', count(*) from agentinstruction
             union all
             select 4, 'instructions archived', count(*) from agentinstruction where payload -> 'archived' = 'true'
             union all
             select 5, 'sessions', count(*) from agentsession
             union all
             select 6, 'sessions archived', count(*) from agentsession
              where experimental_parameters -> 'archived' = 'true'
             union all
             select 7, 'acknowledgements', count(*) from agentinstructionacknowledgement) counts (place, what, rows)
      order by place`,
  );
  return rows.map((row) => row.line).join('\n');
}
