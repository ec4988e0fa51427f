import { escapeIdentifier } from 'pg';
import type { EffectiveRetention } from '../api/effective.ts';
import { limitsSchema } from '../api/spec.ts';
import { deletesAcknowledgements } from './acknowledgements.ts';
import { grantOfReplication } from './replication-lag.ts';
import { tablesIn } from './tables.ts';
import { grantOfVacuum } from './vacuum.ts';

/**
 * SQL that gives a role the least rights a policy's runs need. Locking a row (`for update`) asks for the right to
 * update one column; where a table is only deleted from, that is its key. What a run can do without is a comment.
 */
export function grants(
  role: string,
  schema: string,
  retention: EffectiveRetention,
  limits = limitsSchema.parse({}),
): string {
  const tables = tablesIn(schema);
  const to = `to ${escapeIdentifier(role)};`;
  const deletes = deletesAcknowledgements(retention);
  const changed = [tables.connection, tables.instruction, tables.session, ...(deletes ? [tables.acknowledgement] : [])];
  return [
    `grant usage on schema ${escapeIdentifier(schema)} ${to}`,
    `grant select, update (status, closed_at, close_reason) on ${tables.connection} ${to}`,
    `grant select, delete, update (payload, instruction_metadata) on ${tables.instruction} ${to}`,
    `grant select, update (experimental_parameters) on ${tables.session} ${to}`,
    deletes
      ? `grant select, delete, update (acknowledgement_id) on ${tables.acknowledgement} ${to}`
      : `grant select on ${tables.acknowledgement} ${to}`,
    ...(limits.maxReplicationLag === undefined ? [] : [`${grantOfReplication(role)};`]),
    ...(limits.vacuum
      ? [
          '-- To vacuum the tables after a large pass (PostgreSQL 17 or later; else autovacuum alone does it):',
          `-- ${grantOfVacuum(changed, role)};`,
        ]
      : []),
    '',
  ].join('\n');
}
