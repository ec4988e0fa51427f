import fc from 'fast-check';
import { expect } from 'vitest';
import type { RunResult } from '../../src/api/run-result.ts';
import { type Counts, type Model, type Policy, timeText } from './model.ts';
import { contentsOf, contentsOfModel } from './model-database.ts';
import type { TestDatabase } from './postgres/database.ts';
import { expectNothingLeft } from './postgres/sessions.ts';
import { StatementProxy } from './postgres/statement-proxy.ts';
import { connector, type RunOverrides, run } from './retention.ts';

/** The database under test, and what of a policy makes no difference to what a run does. */
export interface Real {
  database: TestDatabase;
  batchSize: number;
  walk: 'list' | 'keyset' | 'blocks';
}

type Command = fc.AsyncCommand<Model, Real>;

/** A command for each value drawn, shown with that value; where it is not `possible` it is left out. */
function commands<T>(
  name: string,
  values: fc.Arbitrary<T>,
  apply: (value: T, model: Model, real: Real) => Promise<void>,
  possible: (model: Model) => boolean = () => true,
): fc.Arbitrary<Command> {
  return values.map((value) => ({
    check: possible,
    run: (model, real) => apply(value, model, real),
    toString: () => `${name} ${JSON.stringify(value)}`,
  }));
}

/** Hours around whole days, since that is where cutoffs are. */
const age = fc
  .tuple(fc.integer({ min: 0, max: 12 }), fc.constantFrom(-1, 0, 1))
  .map(([days, hours]) => days * 24 + hours);
/** Which of the rows there are. */
const which = fc.nat({ max: 30 });
const pick = <T>(rows: Map<string, T>, n: number): [string, T] => [...rows][n % rows.size]!;
const newId = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
let ids = 0;

// Those that an operation takes are the likely ones.
const sessionStatus = fc.constantFrom('completed', 'terminated', 'error', 'active', 'ended');
const instructionStatus = fc.constantFrom('completed', 'failed', 'expired', 'pending', 'sent');
const connectionStatus = fc.constantFrom('active', 'active', 'closed', 'timeout');

const parameters = fc.constantFrom(
  ...[null, 'null', '{}', '[]', '{"mag": 2, "dose": 1}', '[1, 2, 3]', '"fast"', '0'],
  ...['{"archived": true}', '{"archived": "true"}'],
);
const payload = fc.constantFrom(
  ...[null, 'null', '{"stage": [1, 2, 3]}', '{"note": "Gitter für später"}', '["archived"]'],
  ...['{"archived": true}', '{"archived": false}'],
);
const metadata = fc.constantFrom(null, 'null', '{"by": "user"}', '["first", "try"]', '7');

const create = [
  commands(
    'session',
    fc.record({ status: sessionStatus, ended: fc.option(age, { freq: 5 }), parameters }),
    async (value, model, { database }) => {
      const id = newId(++ids);
      const row = { ...value, endedAt: value.ended === null ? null : model.now - value.ended };
      model.sessions.set(id, { status: row.status, endedAt: row.endedAt, parameters: row.parameters });
      await database.pool.query(
        `insert into agentsession (session_id, agent_id, status, ended_at, experimental_parameters)
         values ($1, 'agent', $2, $3, $4)`,
        [id, row.status, row.endedAt === null ? null : timeText(row.endedAt), row.parameters],
      );
    },
  ),
  commands(
    'instruction',
    fc.record({ session: which, status: instructionStatus, age, payload, metadata }),
    async (value, model, { database }) => {
      const [id, createdAt] = [newId(++ids), model.now - value.age];
      const { status } = value;
      model.instructions.set(id, { status, createdAt, payload: value.payload, metadata: value.metadata });
      await database.pool.query(
        `insert into agentinstruction (instruction_id, session_id, agent_id, instruction_type, status, created_at,
           payload, instruction_metadata)
         values ($1, $2, 'agent', 'move', $3, $4, $5, $6)`,
        [id, pick(model.sessions, value.session)[0], status, timeText(createdAt), value.payload, value.metadata],
      );
    },
    (model) => model.sessions.size > 0,
  ),
  commands(
    'connection',
    fc.record({ session: which, status: connectionStatus, age: fc.integer({ min: 0, max: 8 }) }),
    async ({ session, status, age }, model, { database }) => {
      const [id, heartbeatAt] = [newId(++ids), model.now - age];
      model.connections.set(id, { status, heartbeatAt, closedAt: null, closeReason: null });
      await database.pool.query(
        `insert into agentconnection (connection_id, session_id, agent_id, status, last_heartbeat_at)
         values ($1, $2, 'agent', $3, $4)`,
        [id, pick(model.sessions, session)[0], status, timeText(heartbeatAt)],
      );
    },
    (model) => model.sessions.size > 0,
  ),
  commands(
    'acknowledge',
    fc.record({ instruction: which, age }),
    async (value, model, { database }) => {
      const [id, createdAt] = [newId(++ids), model.now - value.age];
      const [instruction] = pick(model.instructions, value.instruction);
      model.acknowledgements.set(id, { instruction, createdAt });
      await database.pool.query(
        `insert into agentinstructionacknowledgement (acknowledgement_id, instruction_id, agent_id, session_id, status,
           created_at)
         values ($1, $2, 'agent', 'session', 'processed', $3)`,
        [id, instruction, timeText(createdAt)],
      );
    },
    (model) => model.instructions.size > 0,
  ),
];

const change = [
  commands(
    'session status',
    fc.record({ which, status: sessionStatus }),
    async ({ which, status }, model, { database }) => {
      const [id, row] = pick(model.sessions, which);
      row.status = status;
      await database.pool.query('update agentsession set status = $2 where session_id = $1', [id, status]);
    },
    (model) => model.sessions.size > 0,
  ),
  commands(
    'instruction status',
    fc.record({ which, status: instructionStatus }),
    async ({ which, status }, model, { database }) => {
      const [id, row] = pick(model.instructions, which);
      row.status = status;
      await database.pool.query('update agentinstruction set status = $2 where instruction_id = $1', [id, status]);
    },
    (model) => model.instructions.size > 0,
  ),
  commands(
    'heartbeat',
    which,
    async (n, model, { database }) => {
      const [id, row] = pick(model.connections, n);
      row.heartbeatAt = model.now;
      const text = timeText(model.now);
      await database.pool.query('update agentconnection set last_heartbeat_at = $2 where connection_id = $1', [
        id,
        text,
      ]);
    },
    (model) => model.connections.size > 0,
  ),
  commands('hours pass', fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constantFrom(24, 72)), async (hours, model) => {
    model.now += hours;
  }),
];

const days = fc.integer({ min: 1, max: 8 });
const policy: fc.Arbitrary<Policy> = fc
  .record({
    connectionCleanupHours: fc.integer({ min: 1, max: 6 }),
    instructionRetentionDays: days,
    completedSessionRetentionDays: days,
    longer: fc.constantFrom(0, 1, 3, 2555),
    statuses: fc.record({
      sessions: fc.constantFrom(['completed', 'terminated', 'error'], ['ended'], ['active', 'completed']),
      instructions: fc.constantFrom(['completed', 'failed', 'expired'], ['sent'], ['completed', 'pending']),
    }),
  })
  .map(({ longer, ...rest }) => ({
    ...rest,
    acknowledgementRetentionDays: rest.instructionRetentionDays + longer,
  }));

const how = fc.record({
  batchSize: fc.integer({ min: 1, max: 5 }),
  walk: fc.constantFrom('list' as const, 'keyset' as const, 'blocks' as const),
});

const changePolicy = commands('policy', fc.record({ policy, how }), async (value, model, real) => {
  model.policy = value.policy;
  Object.assign(real, value.how);
});

/** A run now, by the policy in force. */
function runNow(model: Model, { database, batchSize, walk }: Real, overrides: RunOverrides = {}): Promise<RunResult> {
  const { sessions, instructions } = model.policy.statuses;
  const policy = { ...model.policy, statuses: { sessions: [...sessions], instructions: [...instructions] } };
  return run(database, { instant: timeText(model.now), retention: { ...policy, batchSize }, walk, ...overrides });
}

const countsOf = ({ operations }: RunResult): Counts =>
  Object.fromEntries(
    operations.map(({ name, closed, archived, deleted }) => [
      name,
      Object.fromEntries(Object.entries({ closed, archived, deleted }).filter(([, rows]) => rows !== undefined)),
    ]),
  ) as Counts;

const expectSame = async (model: Model, { database }: Real) =>
  expect(await contentsOf(database)).toEqual(contentsOfModel(model));

const fullRun = commands('run', fc.constant('now'), async (_, model, real) => {
  const result = await runNow(model, real);
  expect([result.result, countsOf(result)]).toEqual(['Succeeded', model.run()]);
  await expectSame(model, real);
});

const dryRun = commands('dry run', fc.constant('now'), async (_, model, real) => {
  const result = await runNow(model, real, { dryRun: true });
  expect([result.result, countsOf(result)]).toEqual(['DryRun', model.clone().run()]);
  await expectSame(model, real);
});

const crash = commands(
  'crash',
  fc.record({ number: fc.integer({ min: 1, max: 90 }), side: fc.constantFrom('before', 'after') }),
  async ({ number, side }, model, real) => {
    const proxy = await StatementProxy.start(real.database.url, {
      [side]: (statement: { number: number; die(): void }) => statement.number === number && statement.die(),
    });
    try {
      const connect = connector(proxy.through(real.database.url));
      await runNow(model, real, { connect, retryPausesMs: [] });
    } finally {
      proxy.stop();
    }
    await expectNothingLeft(real.database);
    // How far the run came is unknown, and a second one deletes what lost its last acknowledgement in the first.
    for (const _ of ['to its end', 'and once more']) {
      expect((await runNow(model, real)).result).toBe('Succeeded');
      model.run();
    }
    await expectSame(model, real);
  },
);

/** All commands, those that make rows more often than others. */
export const allCommands = [...create, ...create, ...change, changePolicy, fullRun, dryRun, crash];
