import { addSession, readValue } from '../support/data/due-rows.ts';
import { testRaces } from '../support/race-tests.ts';
import { type Part, theAct } from '../support/races.ts';

const parts: Part[] = [
  {
    name: 'it is taken up again',
    add: addSession,
    act: (id) => `update agentsession set status = 'active', ended_at = null where session_id = '${id}'`,
    waitsFor: 'changed',
    expected(when, ending) {
      if (ending === 'rolled back later') return 'completed, archived';
      return when.beforeLock('changed') ? 'active' : 'active, archived';
    },
  },
  {
    name: 'it gets other parameters and stays due',
    add: addSession,
    act: (id) => `update agentsession set experimental_parameters = '{"dose": 2}' where session_id = '${id}'`,
    waitsFor: 'changed',
    expected: (when, ending) =>
      when.beforeLock('changed') || ending === 'rolled back later'
        ? 'completed, archived'
        : 'completed, other parameters',
  },
  {
    name: 'somebody deletes it',
    add: addSession,
    act: (id) => `delete from agentsession where session_id = '${id}'`,
    waitsFor: 'changed',
    expected: theAct({ act: 'gone', run: 'completed, archived' }),
  },
  { name: 'nothing happens to it', add: addSession, act: () => 'select', expected: () => 'completed, archived' },
];

testRaces({
  operation: 'sessions',
  parts,
  stateOf: (client, id) =>
    readValue(
      client,
      `select concat_ws(', ', status, case when experimental_parameters = '{"dose": 2}' then 'other parameters'
                                           when experimental_parameters -> 'archived' = 'true' then 'archived' end) as value
         from agentsession
        where session_id = $1`,
      [id],
    ),
  afterNext: { 'completed, other parameters': 'completed, archived' },
});
