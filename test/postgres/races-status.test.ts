import { acknowledge, addInstruction, type Queryable, readValue } from '../support/data/due-rows.ts';
import { testRaces } from '../support/race-tests.ts';
import { type Part, theAct, whoeverIsFirst } from '../support/races.ts';

async function addAcknowledged(client: Queryable): Promise<string> {
  const instruction = await addInstruction(client);
  await acknowledge(client, instruction);
  return instruction;
}

const at = (instruction: string) => `where instruction_id = '${instruction}'`;
const setPending = (instruction: string) => `update agentinstruction set status = 'pending' ${at(instruction)}`;
/** Still due; the new version finds no room beside the old one, and every index gets an entry. */
const rewrite = (instruction: string) =>
  `update agentinstruction set agent_id = 'other', instruction_type = repeat('x', 1500) ${at(instruction)}`;
const remove = (instruction: string) =>
  `delete from agentinstructionacknowledgement ${at(instruction)}; delete from agentinstruction ${at(instruction)}`;

/** An instruction in words: its content, its status unless it is still completed, and whether it has been rewritten. */
function stateOf(client: Queryable, instruction: string): Promise<string> {
  return readValue(
    client,
    `select concat_ws(', ', case when payload -> 'archived' = 'true' then 'archived' else 'kept' end,
                            nullif(status, 'completed'), case agent_id when 'other' then 'rewritten' end) as value
       from agentinstruction ${at(instruction)}`,
  );
}

const parts: Part[] = [
  {
    name: 'pending again, without acknowledgements',
    add: addInstruction,
    act: setPending,
    waitsFor: 'deleted',
    expected: whoeverIsFirst('deleted', { act: 'kept, pending', run: 'gone' }),
  },
  {
    name: 'pending again, with an acknowledgement',
    add: addAcknowledged,
    act: setPending,
    waitsFor: 'changed',
    expected(when, ending) {
      if (ending === 'rolled back later') return 'archived';
      return when.beforeLock('changed') ? 'kept, pending' : 'archived, pending';
    },
  },
  {
    name: 'rewritten, without acknowledgements',
    add: addInstruction,
    act: rewrite,
    waitsFor: 'deleted',
    expected: () => 'gone',
  },
  {
    name: 'rewritten, with an acknowledgement',
    add: addAcknowledged,
    act: rewrite,
    waitsFor: 'changed',
    expected: theAct({ act: 'archived, rewritten', run: 'archived' }),
  },
  {
    name: 'deleted by somebody else, without acknowledgements',
    add: addInstruction,
    act: remove,
    waitsFor: 'deleted',
    expected: () => 'gone',
  },
  {
    name: 'deleted by somebody else, with its acknowledgement',
    add: addAcknowledged,
    act: remove,
    waitsFor: 'changed',
    expected: theAct({ act: 'gone', run: 'archived' }),
  },
];

testRaces({ operation: 'instructions', parts, stateOf });
