import { readFileSync } from 'node:fs';
import type { ClientBase } from 'pg';

/**
 * The deployed forms of the schema: foreign keys with ON DELETE CASCADE; with no action (the newest); and the older types:
 * ids bigint, instruction_id varchar, timestamps with time zone, with ON DELETE CASCADE as they were then.
 */
export type Variant = 'cascade' | 'no-action' | 'older';

export const variants: readonly Variant[] = ['cascade', 'no-action', 'older'];

/** Creates the agent tables in an empty database. */
export async function loadSchema(client: ClientBase, variant: Variant): Promise<void> {
  await client.query(schemaSql(variant));
  if (variant === 'older') await client.query(olderTypes);
}

/** schema.sql is psql's: the variable that tells the variants is put in here, and psql's own commands are left out. */
function schemaSql(variant: Variant): string {
  return readFileSync(new URL('schema.sql', import.meta.url), 'utf8')
    .replace(/^\\.*$/gm, '')
    .replaceAll(/:cascade\b/g, variant === 'no-action' ? '' : 'on delete cascade');
}

const olderTypes = `
  alter table agentsession
    alter column id type bigint,
    alter column created_at type timestamptz,
    alter column started_at type timestamptz,
    alter column ended_at type timestamptz,
    alter column last_activity_at type timestamptz;

  alter table agentinstructionacknowledgement
    drop constraint agentinstructionacknowledgement_instruction_id_fkey;

  alter table agentinstruction
    alter column id type bigint,
    alter column instruction_id drop default,
    alter column instruction_id type varchar,
    alter column instruction_id set default gen_random_uuid()::varchar,
    alter column created_at type timestamptz,
    alter column sent_at type timestamptz,
    alter column acknowledged_at type timestamptz,
    alter column expires_at type timestamptz;

  alter table agentconnection
    alter column id type bigint,
    alter column created_at type timestamptz,
    alter column last_heartbeat_at type timestamptz,
    alter column closed_at type timestamptz;

  alter table agentinstructionacknowledgement
    alter column instruction_id type varchar,
    alter column created_at type timestamptz,
    alter column processed_at type timestamptz,
    add foreign key (instruction_id) references agentinstruction (instruction_id) on delete cascade;

  alter table agentlog
    alter column id type bigint,
    alter column "timestamp" type timestamptz,
    alter column created_at type timestamptz;
`;
