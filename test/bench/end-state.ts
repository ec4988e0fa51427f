import type { Client } from 'pg';
import { checksums } from '../support/data/checksum.ts';

/** What a cleanup leaves, but for the instant it was done at: the same for all contenders. */
export type EndState = Record<string, string>;

/** Columns that hold that instant. The first two also count here by how many are archived and how long they are. */
const timed = ['payload', 'experimental_parameters', 'closed_at'];

export async function endState(client: Client): Promise<EndState> {
  const { rows } = await client.query<EndState>(
    `select i.*, s.*, c.*
       from (select count(*) filter (where payload -> 'archived' = 'true')::text as archived_instructions,
                    coalesce(sum(octet_length(payload::text)), 0)::text as payload_length
               from agentinstruction) i,
            (select count(*) filter (where experimental_parameters -> 'archived' = 'true')::text as archived_sessions,
                    coalesce(sum(octet_length(experimental_parameters::text)), 0)::text as parameters_length
               from agentsession) s,
            (select count(closed_at)::text as closed_connections from agentconnection) c`,
  );
  return { ...rows[0]!, ...(await checksums(client, timed)) };
}

/** Throws where two contenders left something different. */
export function compareEndStates(one: { name: string; state: EndState }, other: { name: string; state: EndState }) {
  const different = Object.keys(one.state).filter((key) => one.state[key] !== other.state[key]);
  if (different.length === 0) return;
  const details = different.map((key) => `${key} is ${one.state[key]} and ${other.state[key]}`).join('; ');
  throw new Error(`${one.name} and ${other.name} left different rows: ${details}`);
}
