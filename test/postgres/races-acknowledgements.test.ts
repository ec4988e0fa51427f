import { acknowledge, addInstruction, type Queryable, stateOf } from '../support/data/due-rows.ts';
import { testRaces } from '../support/race-tests.ts';
import type { Part } from '../support/races.ts';

const insert = (instruction: string) =>
  `insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status)
   values ('${instruction}', 'agent', 'session', 'processed')`;
const remove = (instruction: string) =>
  `delete from agentinstructionacknowledgement where instruction_id = '${instruction}'`;

async function addAcknowledged(client: Queryable): Promise<string> {
  const instruction = await addInstruction(client);
  await acknowledge(client, instruction);
  return instruction;
}

const parts: Part[] = [
  {
    name: 'a first acknowledgement is inserted',
    add: addInstruction,
    act: insert,
    waitsFor: 'deleted',
    // Once the instruction is locked the insert comes too late, and is told so.
    refused: (when) => !when.beforeLock('deleted'),
    expected: (when, ending) =>
      when.beforeLock('deleted') && ending !== 'rolled back later' ? 'archived with 1 acknowledgements' : 'deleted',
  },
  {
    name: 'another acknowledgement is inserted',
    add: addAcknowledged,
    act: insert,
    expected: (_, ending) => `archived with ${ending === 'rolled back later' ? 1 : 2} acknowledgements`,
  },
  {
    name: 'the last acknowledgement is deleted',
    add: addAcknowledged,
    act: remove,
    expected: (when, ending) => {
      if (ending === 'rolled back later') return 'archived with 1 acknowledgements';
      // The run sees it until its delete is committed, and archives what it had when it was locked; the first insert, which it waits for, ends at the same time.
      const gone =
        ending === 'at once' ? when.beforeDecision('changed') : when.waitsBetweenSteps && when.beforeLock('deleted');
      return gone ? 'deleted' : 'archived with 0 acknowledgements';
    },
  },
  {
    name: 'nothing happens to an instruction without acknowledgements',
    add: addInstruction,
    act: () => 'select',
    expected: () => 'deleted',
  },
  {
    name: 'nothing happens to an instruction with an acknowledgement',
    add: addAcknowledged,
    act: () => 'select',
    expected: () => 'archived with 1 acknowledgements',
  },
];

testRaces({
  operation: 'instructions',
  parts,
  stateOf,
  afterNext: { 'archived with 0 acknowledgements': 'deleted' },
});
