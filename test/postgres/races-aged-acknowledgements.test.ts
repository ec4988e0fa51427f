import { addInstruction, addOldAcknowledgements, type Queryable, readValue } from '../support/data/due-rows.ts';
import { testRaces } from '../support/race-tests.ts';
import { type Part, whoeverIsFirst } from '../support/races.ts';

/** An acknowledgement that is due, by its instruction. */
async function add(client: Queryable): Promise<string> {
  const instruction = await addInstruction(client);
  await addOldAcknowledgements(client, instruction, 1);
  return instruction;
}

const at = (instruction: string) => `where instruction_id = '${instruction}'`;

const parts: Part[] = [
  {
    name: 'its time is put right',
    add,
    act: (id) => `update agentinstructionacknowledgement set created_at = now() ${at(id)}`,
    waitsFor: 'deleted',
    expected: whoeverIsFirst('deleted', { act: 'kept', run: 'gone' }),
  },
  {
    name: 'it is rewritten and stays due',
    add,
    act: (id) => `update agentinstructionacknowledgement set result = repeat('x', 2000) ${at(id)}`,
    waitsFor: 'deleted',
    expected: () => 'gone',
  },
  {
    name: 'somebody deletes it',
    add,
    act: (id) => `delete from agentinstructionacknowledgement ${at(id)}`,
    waitsFor: 'deleted',
    expected: () => 'gone',
  },
  {
    name: 'another, recent one is inserted beside it',
    add,
    act: (id) =>
      `insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status)
       values ('${id}', 'agent', 'session', 'processed')`,
    expected: (_when, ending) => (ending === 'rolled back later' ? 'gone' : 'kept'),
  },
  { name: 'nothing happens to it', add, act: () => 'select', expected: () => 'gone' },
];

testRaces({
  operation: 'acknowledgements',
  parts,
  stateOf: (client, id) => readValue(client, `select 'kept' as value from agentinstructionacknowledgement ${at(id)}`),
});
