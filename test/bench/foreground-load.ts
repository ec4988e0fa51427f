import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'pg';

/** What the bench's client does, in turns. */
export const requests = ['acknowledge recent', 'acknowledge old', 'read'] as const;
export type Request = (typeof requests)[number];

/** What came of the requests of one window. */
export interface Answers {
  milliseconds: Record<Request, number[]>;
  /** How often each error was answered. */
  errors: Record<string, number>;
}

/** A client of agents and people, at a fixed rate on a few connections. */
export interface ForegroundLoad {
  /** Sends requests until `until` is settled, and waits for the last answers. */
  during(until: Promise<unknown>): Promise<Answers>;
  close(): Promise<void>;
}

const perSecond = 200;
const turns: readonly Request[] = ['acknowledge recent', 'read', 'acknowledge old', 'read'];
const connections = 4;
const instructionsKnown = 2_000;

/** Opens the connections and picks instructions that no policy deletes while this lasts: recent, or in no status that is due. */
export async function startForegroundLoad(url: string): Promise<ForegroundLoad> {
  const pool = new Pool({ connectionString: url, max: connections, min: connections, idleTimeoutMillis: 0 });
  pool.on('error', () => {}); // the request that meets it counts it
  const recent = await instructions(pool, `created_at > now() - interval '5 days'`);
  const old = await instructions(
    pool,
    `created_at < now() - interval '60 days' and status in ('acknowledged', 'sent', 'pending')`,
  );
  const send: Record<Request, () => Promise<unknown>> = {
    'acknowledge recent': () => pool.query(acknowledge, [oneOf(recent)]),
    'acknowledge old': () => pool.query(acknowledge, [oneOf(old)]),
    read: () => pool.query('select * from agentinstruction where instruction_id = $1', [oneOf([...recent, ...old])]),
  };
  return {
    during: (until) => sendDuring(until, send),
    close: () => pool.end(),
  };
}

const acknowledge = `
  insert into agentinstructionacknowledgement (instruction_id, agent_id, session_id, status, processing_time_ms, processed_at)
  values ($1, 'agent-1', 'session', 'processed', 250, now())`;

/** A request is timed from when it is sent, waiting for a free connection included; none waits for the one before it. */
async function sendDuring(until: Promise<unknown>, send: Record<Request, () => Promise<unknown>>): Promise<Answers> {
  const answers: Answers = { milliseconds: { 'acknowledge recent': [], 'acknowledge old': [], read: [] }, errors: {} };
  const answer = async (request: Request) => {
    const sent = performance.now();
    try {
      await send[request]();
      answers.milliseconds[request].push(performance.now() - sent);
    } catch (error) {
      const { message } = error as Error;
      answers.errors[message] = (answers.errors[message] ?? 0) + 1;
    }
  };
  let over = false;
  const end = until.finally(() => {
    over = true;
  });
  const pending: Promise<void>[] = [];
  const started = performance.now();
  while (!over) {
    const due = Math.floor(((performance.now() - started) / 1000) * perSecond);
    while (pending.length < due) pending.push(answer(turns[pending.length % turns.length]!));
    await sleep(1000 / perSecond);
  }
  await Promise.all(pending);
  await end;
  return answers;
}

async function instructions(pool: Pool, condition: string): Promise<string[]> {
  const { rows } = await pool.query<{ instruction_id: string }>(
    `select instruction_id from agentinstruction where ${condition} order by md5(instruction_id::text) limit $1`,
    [instructionsKnown],
  );
  if (rows.length === 0) throw new Error(`no instruction with ${condition}`);
  return rows.map((row) => row.instruction_id);
}

function oneOf<T>(values: readonly T[]): T {
  return values[Math.floor(Math.random() * values.length)]!;
}
