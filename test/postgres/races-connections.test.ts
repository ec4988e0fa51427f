import { addConnection, type Queryable, readValue } from '../support/data/due-rows.ts';
import { testRaces } from '../support/race-tests.ts';
import { type Part, theAct, whoeverIsFirst } from '../support/races.ts';

const add = async (client: Queryable) => String(await addConnection(client));

const parts: Part[] = [
  {
    name: 'its agent sends a heartbeat',
    add,
    act: (id) => `update agentconnection set last_heartbeat_at = now() where id = ${id} and status = 'active'`,
    waitsFor: 'changed',
    expected: whoeverIsFirst('changed', { act: 'active', run: 'timeout' }),
  },
  {
    name: 'its agent closes it',
    add,
    act: (id) => `update agentconnection set status = 'closed', closed_at = now() where id = ${id}`,
    waitsFor: 'changed',
    expected: theAct({ act: 'closed', run: 'timeout' }),
  },
  {
    name: 'somebody deletes it',
    add,
    act: (id) => `delete from agentconnection where id = ${id}`,
    waitsFor: 'changed',
    expected: theAct({ act: 'gone', run: 'timeout' }),
  },
  {
    name: 'it is rewritten and stays due',
    add,
    act: (id) => `update agentconnection set agent_id = repeat('x', 2000) where id = ${id}`,
    waitsFor: 'changed',
    expected: () => 'timeout',
  },
  { name: 'nothing happens to it', add, act: () => 'select', expected: () => 'timeout' },
];

testRaces({
  operation: 'connections',
  parts,
  stateOf: (client, id) => readValue(client, 'select status as value from agentconnection where id = $1', [id]),
});
