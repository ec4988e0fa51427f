import { escapeIdentifier } from 'pg';

/** The agent tables, qualified and quoted, ready to stand in SQL. */
export interface Tables {
  schema: string;
  session: string;
  instruction: string;
  connection: string;
  acknowledgement: string;
}

export const tableNames = {
  session: 'agentsession',
  instruction: 'agentinstruction',
  connection: 'agentconnection',
  acknowledgement: 'agentinstructionacknowledgement',
} as const;

/** The agent tables in a schema, quoted by the driver's own function. */
export function tablesIn(schema: string): Tables {
  const qualified = (name: string) => `${escapeIdentifier(schema)}.${escapeIdentifier(name)}`;
  return {
    schema,
    session: qualified(tableNames.session),
    instruction: qualified(tableNames.instruction),
    connection: qualified(tableNames.connection),
    acknowledgement: qualified(tableNames.acknowledgement),
  };
}
