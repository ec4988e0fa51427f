import type pg from 'pg';
import { exitCodes, type IndexAdvice, printable } from '../api/run-result.ts';
import { configFromCommandLine } from '../database/command-line.ts';
import { connect } from '../database/connect.ts';
import { brokenIndexes, dropStatement } from '../retention/index-advice.ts';
import { runRetention } from '../retention/run.ts';
import { type Tables, tablesIn } from '../retention/tables.ts';
import { policyOf } from './policy.ts';
import type { DatabaseOptions } from './policy-options.ts';
import { stopSignal } from './stop-signal.ts';
import { textLogger } from './text-logger.ts';

/** Prints the indexes that runs lack on a database as SQL, or creates them; returns the exit code. */
export async function adviseOrApply(options: DatabaseOptions & { apply?: boolean }): Promise<number> {
  const { tlsMode, ...policy } = await policyOf(options);
  const config = await configFromCommandLine(options.databaseUrl, process.env, tlsMode);
  const signal = stopSignal();
  const open = (abandon?: AbortSignal) => connect(config, 'retention indexes', abandon);
  // A dry run gives the advice that a run would.
  const {
    result,
    message,
    indexAdvice = [],
  } = await runRetention({
    ...policy,
    identity: { id: `cli-${new Date().toISOString()}`, job: 'indexes', trigger: 'CommandLine' },
    dryRun: true,
    connect: open,
    signal,
    log: textLogger(process.stderr),
    now: () => new Date(),
  });
  if (result !== 'DryRun') process.stderr.write(`error: ${printable(message ?? result)}\n`);
  else if (indexAdvice.length === 0) process.stdout.write('-- no index is advised\n');
  const client = options.apply && indexAdvice.length > 0 ? await open(signal) : undefined;
  try {
    for (const advice of indexAdvice) await show(advice, client, tablesIn(policy.schema));
  } finally {
    await client?.end();
  }
  return exitCodes[result];
}

/** Prints the advice as SQL; with a client, runs each statement once it is printed. */
async function show({ table, saving, statements }: IndexAdvice, client: pg.Client | undefined, tables: Tables) {
  process.stdout.write(`-- ${table}: ${printable(saving)}\n`);
  for (const statement of statements) {
    process.stdout.write(`${printable(statement)};\n`);
    // Each on its own: `concurrently` is not allowed in a transaction.
    await client?.query(statement).catch(async (error) => {
      throw new Error(await explainFailure(error, client, tables), { cause: error });
    });
  }
}

/** What went wrong, and what is left of it. */
async function explainFailure(error: pg.DatabaseError, client: pg.Client, tables: Tables): Promise<string> {
  const hints: Record<string, string> = {
    42501: ': log in as the owner of the tables',
    57014: ': a statement_timeout of the role or the database is too short for it, or somebody cancelled it',
  };
  const broken = await brokenIndexes(client, tables).catch(() => []);
  const left = broken.map(
    (name) =>
      `; index ${name} is left half-built (INVALID): every write pays for it and no query uses it. Remove it with \`${dropStatement(tables, name)}\`, or run \`retention indexes --apply\` again, which begins with that`,
  );
  return `${error.message}${hints[error.code ?? ''] ?? ''}${left.join('')}`;
}
