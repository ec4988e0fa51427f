/** One thing taken out of the sources, and the tests that must notice. */
export interface Mutant {
  name: string;
  file: string;
  /** Stands in the file exactly once. */
  find: string;
  replace: string;
  tests: string[];
  /** Of those files, only the tests whose name matches, where the others would take long. */
  only?: string;
}

const locks = ['test/postgres/locks.test.ts'];
/** Not those that look at the statements alone: rows must be lost, or changed that should not be. */
const races = { tests: ['test/postgres/races'], only: 'at every moment' };
const reconnecting = ['test/postgres/reconnecting.test.ts'];
const crashes = { tests: ['test/postgres/crashes.test.ts'], only: 'COMMIT' };
const serverCrashes = { tests: ['test/postgres/server-crashes.test.ts'], only: 'right after' };

const hostile = ['test/postgres/hostile-schema.test.ts'];
const references = ['test/postgres/references.test.ts'];
const badRows = ['test/postgres/bad-rows.test.ts'];
const written = ['test/postgres/written.test.ts'];

export const mutants: Mutant[] = [
  {
    name: 'FOR UPDATE: rows are read and not locked',
    file: 'src/retention/batch.ts',
    find: `\${step.lock} of t\${others === 'wait' ? '' : ' skip locked'}`,
    replace: '',
    ...races,
  },
  {
    name: "FOR UPDATE of the delete step, weakened: an acknowledgement's key share lock is let in",
    file: 'src/retention/instructions.ts',
    find: `lock: 'for update',`,
    replace: `lock: 'for no key update',`,
    ...races,
  },
  {
    name: 'the second statement, in a walk along blocks: looked for and deleted in one',
    file: 'src/retention/instructions.ts',
    find: 'lockFirst: true,',
    replace: 'lockFirst: false,',
    ...races,
  },
  {
    name: 'skip locked: a batch waits for every locked row',
    file: 'src/retention/batch.ts',
    find: `others === 'wait' ? '' : ' skip locked'`,
    replace: `''`,
    tests: locks,
  },
  {
    name: 'the second look: what was locked is deleted without another look for acknowledgements',
    file: 'src/retention/batch.ts',
    find: 'step.lockFirst ? await lookAgain(client, o, step, column, keys) : keys',
    replace: 'keys',
    ...races,
  },
  {
    name: 'the second statement: locked, looked for and deleted in one',
    file: 'src/retention/batch.ts',
    find: `  const keys = await lockRows(client, o, step, rows, column, others);
`,
    replace: `  if (step.lockFirst) {
    const one = await client.query<{ key: string }>(
      \`with batch as (
         select t.\${column} from \${o.table} t
          where \${rows.where(o.dueParameters.length + 1)} and \${step.due}
            for update\${others === 'wait' ? '' : ' skip locked'})
       delete from \${o.table} t using batch
        where t.\${column} = batch.\${column} and \${step.due}
       returning t.\${column}::text as key\`,
      [...o.dueParameters, ...rows.parameters],
    );
    const gone = one.rows.map((row) => row.key);
    return { keys: gone, due: gone.length, changed: gone.length };
  }
  const keys = await lockRows(client, o, step, rows, column, others);
`,
    ...races,
  },
  {
    name: "the keyset's tie-break: rows of the very same time are passed over",
    file: 'src/retention/keyset-walk.ts',
    find: `\`and (t.\${o.ageColumn}, t.\${o.primaryKey}) > ($\${n + 2}, $\${n + 3})\``,
    replace: `\`and t.\${o.ageColumn} > $\${n + 2} and $\${n + 3}::text is not null\``,
    tests: locks,
  },
  {
    name: "the cutoffs' fixed instant: each has its own",
    file: 'src/retention/cutoff.ts',
    find: `  const at = (table: string, column: string, hours: number) =>
    before(client, instant, hours,`,
    replace: `  const at = async (table: string, column: string, hours: number) =>
    before(client, (await readClock(client)) || instant, hours,`,
    tests: ['test/postgres/cutoffs.test.ts'],
  },
  {
    name: "the cutoff's fixed instant: each batch looks at the clock anew",
    file: 'src/retention/instructions.ts',
    find: 't.created_at operator(pg_catalog.<) $1 and t.status operator(pg_catalog.=) any($2)',
    replace: `$1::text is not null and t.created_at < localtimestamp - make_interval(days => \${retention.instructionRetentionDays}) and t.status = any($2)`,
    tests: ['test/postgres/operations.test.ts'],
  },
  {
    name: 'the advisory lock: two runs at once',
    file: 'src/database/run-lock.ts',
    find: `'select pg_try_advisory_xact_lock($1::int, hashtext($2)) as held'`,
    replace: `'select $1::int is not null and hashtext($2) is not null as held'`,
    tests: ['test/postgres/interrupted-runs.test.ts'],
  },
  {
    name: 'the guard: a run over the limit goes on',
    file: 'src/retention/run.ts',
    find: 'if (plan.violations.length > 0) return blocked(plan);',
    replace: '',
    tests: ['test/postgres/guard.test.ts'],
  },
  {
    name: 'the share of what can still be lost: archived rows count too',
    file: 'src/retention/instructions.ts',
    find: `t where \${notArchived} order by t.created_at desc`,
    replace: 't order by t.created_at desc',
    tests: ['test/postgres/guard.test.ts'],
  },
  {
    name: 'the budget: whatever becomes due later is changed too',
    file: 'src/retention/budget.ts',
    find: 'this.left = rows;',
    replace: 'this.left = Number.MAX_SAFE_INTEGER;',
    tests: ['test/postgres/budget.test.ts'],
  },
  {
    name: 'the budget along blocks: the batch that goes beyond it is committed',
    file: 'src/retention/block-walk.ts',
    find: 'if (changed > budget.left) throw new TooManyRows();',
    replace: '',
    tests: ['test/postgres/budget.test.ts'],
  },
  {
    name: 'the confirmed value: any other is confirmed too',
    file: 'src/retention/confirm.ts',
    find: 'confirmed[period] !== now',
    replace: 'confirmed[period] === undefined',
    tests: ['test/postgres/confirm.test.ts'],
  },
  {
    name: "the database's clock: whatever it shows is believed",
    file: 'src/retention/clock.ts',
    find: 'if (ahead + behind <= milliseconds(maxClockDifference)) {',
    replace: 'if (ahead + behind <= Math.max(Infinity, milliseconds(maxClockDifference))) {',
    tests: ['test/postgres/clock.test.ts'],
  },
  {
    name: 'the time zone: connections that are alive in another are closed',
    file: 'src/retention/newest-rows.ts',
    find: 'return misread.closesLive ?',
    replace: 'return !misread.closesLive ?',
    tests: ['test/postgres/clock.test.ts'],
  },
  {
    name: 'strictly older: what is exactly as old as the cutoff is due',
    file: 'src/retention/instructions.ts',
    find: 't.created_at operator(pg_catalog.<) $1 and t.status operator(pg_catalog.=) any($2)',
    replace: 't.created_at operator(pg_catalog.<=) $1 and t.status operator(pg_catalog.=) any($2)',
    tests: ['test/postgres/cutoffs.test.ts'],
  },
  {
    name: 'the foreign key is not looked for',
    file: 'src/retention/plan.ts',
    find: `if (operation.name === 'instructions') await checkAcknowledgementKey(client, tables);`,
    replace: '',
    tests: ['test/postgres/preconditions.test.ts'],
  },
  {
    name: 'a dry run goes on',
    file: 'src/retention/run.ts',
    find: `await (options.dryRun
      ? dryRun(options, session, stop)
      : underRunLock({ ...options, connect: opener() }, session, stop)
    )`,
    replace: 'await underRunLock({ ...options, connect: opener() }, session, stop)',
    tests: ['test/postgres/dry-run.test.ts'],
  },
  {
    name: 'a swallowed change counts as done',
    file: 'src/retention/batch.ts',
    find: 'if (changed < taken.length) {',
    replace: 'if (changed < 0) {',
    tests: ['test/postgres/preconditions.test.ts'],
  },
  {
    name: 'a block whose rows are locked fails the operation',
    file: 'src/retention/block-walk.ts',
    find: `if ((error as { code?: string }).code !== lockNotAvailable) throw error;`,
    replace: 'throw error;',
    tests: locks,
  },
  {
    name: 'a lost connection is not opened again',
    file: 'src/database/session.ts',
    find: 'isConflict(error) || (this.#wasConnected && isLostConnection(error))',
    replace: 'isConflict(error)',
    tests: reconnecting,
  },
  {
    name: 'a conflict is not tried again',
    file: 'src/database/session.ts',
    find: 'isConflict(error) || (this.#wasConnected && isLostConnection(error))',
    replace: 'this.#wasConnected && isLostConnection(error)',
    tests: reconnecting,
  },
  {
    name: 'the question what became of a COMMIT: it is taken for failed',
    file: 'src/database/session.ts',
    find: 'if (!(await this.#wasCommitted(xid, stop))) throw error;',
    replace: 'throw error;',
    ...crashes,
  },
  {
    name: 'the answer to that question: it is taken for done',
    file: 'src/database/session.ts',
    find: `return rows[0]!.status === 'committed';`,
    replace: 'return true;',
    ...crashes,
  },
  {
    name: 'the flush at the end of an operation',
    file: 'src/retention/run-operation.ts',
    find: 'if (progress.batches > 0)',
    replace: 'if (progress.batches < 0)',
    ...serverCrashes,
  },
  {
    name: 'what makes the flush wait: its transaction writes nothing',
    file: 'src/database/flush.ts',
    find: `select pg_catalog.pg_logical_emit_message(true, 'retention', ''),`,
    replace: 'select',
    ...serverCrashes,
  },
  {
    name: 'what makes the flush wait: it commits as batches do',
    file: 'src/database/session.ts',
    find: '{ ...settings, waitForDisk: true }',
    replace: 'settings',
    ...serverCrashes,
  },
  {
    name: 'a server that crashed unseen: the lock is not asked after the flush',
    file: 'src/database/session.ts',
    find: 'await this.confirmLock?.(flushed.server);',
    replace: '',
    tests: ['test/postgres/durability.test.ts'],
    only: 'another server',
  },
  {
    name: 'a cancelled wait for a standby is taken for a success',
    file: 'src/database/session.ts',
    find: 'flushed.check();',
    replace: '',
    tests: ['test/postgres/durability.test.ts'],
    only: 'by another user',
  },
  {
    name: 'a run that reconnects does not ask for its lock',
    file: 'src/retention/run.ts',
    find: 'session.confirmLock = lock.confirm;',
    replace: '',
    tests: reconnecting,
  },
  {
    name: 'a run whose lock is lost goes on',
    file: 'src/retention/run.ts',
    find: `lock.lost.addEventListener('abort', () => stop.for(String(lock.lost.reason)));`,
    replace: '',
    tests: ['test/postgres/interrupted-runs.test.ts'],
  },
  {
    name: 'the second try of rows that were locked',
    file: 'src/retention/keyset-walk.ts',
    find: 'await retryLocked(walk, step, locked);',
    replace: '',
    tests: locks,
  },
  {
    name: 'the count of rows that stay locked',
    file: 'src/retention/keyset-walk.ts',
    find: 'progress.skipped += left.length;',
    replace: '',
    tests: locks,
  },
  {
    name: 'the one snapshot of a dry run',
    file: 'src/database/session.ts',
    find: 'begin isolation level repeatable read read only',
    replace: 'begin isolation level read committed read only',
    tests: ['test/postgres/dry-run.test.ts'],
  },
  {
    name: 'row_security = off: a policy that filters hides rows',
    file: 'src/database/session.ts',
    find: 'set local row_security to off',
    replace: 'set local row_security to on',
    tests: ['test/postgres/grants.test.ts'],
  },
  {
    name: 'the guard is asked after the changes',
    file: 'src/retention/run.ts',
    find: `    if (plan.violations.length > 0) return blocked(plan);
    return await execute(plan, options, session, stop);`,
    replace: `    const outcome = await execute(plan, options, session, stop);
    return plan.violations.length === 0 ? outcome : blocked(plan);`,
    tests: ['test/postgres/guard.test.ts'],
  },
  {
    name: "the archived ones' mark: they are archived again",
    file: 'src/retention/instructions.ts',
    find: 'payloadArchived(of)} is not true',
    replace: 'payloadArchived(of)} is not null',
    tests: ['test/postgres/operations.test.ts'],
  },
  {
    name: "the pinned search_path: a run's statements find what strangers have made",
    file: 'src/database/session.ts',
    find: `set local search_path to \${pinnedPath}; `,
    replace: '',
    tests: hostile,
  },
  {
    name: 'one operator that is not qualified, in a statement that changes rows',
    file: 'src/retention/instructions.ts',
    find: '$1 and t.status operator(pg_catalog.=) any($2)',
    replace: '$1 and t.status = any($2)',
    tests: hostile,
  },
  {
    name: "what the application's triggers find: changes are made under a run's own settings",
    file: 'src/retention/batch.ts',
    find: 'await asAtLogin(client);',
    replace: '',
    tests: ['test/postgres/triggers.test.ts'],
  },
  {
    name: "other tables' foreign keys are not looked for",
    file: 'src/retention/references.ts',
    find: 'return rows.map(({ missing, switches, ...reference }) => ({',
    replace: 'return rows.slice(0, 0).map(({ missing, switches, ...reference }) => ({',
    tests: references,
  },
  {
    name: 'the lock that keeps new foreign keys out of a batch',
    file: 'src/retention/references.ts',
    find: `await client.query(\`lock table \${table} in row exclusive mode\`);`,
    replace: '',
    tests: references,
  },
  {
    name: 'the comparison of foreign keys in each batch',
    file: 'src/retention/references.ts',
    find: '=== fingerprint) return;',
    replace: '!== undefined) return;',
    tests: references,
  },
  {
    name: 'the second look for rows that refer to an acknowledgement',
    file: 'src/retention/acknowledgements.ts',
    find: 'lockFirst: references.length > 0,',
    replace: 'lockFirst: false,',
    tests: references,
  },
  {
    name: 'deferred constraints are left to the commit',
    file: 'src/retention/written.ts',
    find: 'set constraints all immediate;',
    replace: '',
    tests: ['test/postgres/triggers.test.ts'],
  },
  {
    name: 'what triggers have made of a change is not looked at: the row count is believed',
    file: 'src/retention/written.ts',
    find: 'if (wrong === 0) return;',
    replace: 'if (wrong >= 0) return;',
    tests: written,
  },
  {
    name: 'a trigger is not noticed',
    file: 'src/retention/written.ts',
    find: 'return results.at(-1)!.rows[0]!.watched;',
    replace: 'return false;',
    tests: written,
  },
  {
    name: 'an operation that could change none of its rows is no failure',
    file: 'src/retention/run-operation.ts',
    find: 'failures.count > 0 && rowsOf(progress.changes) === 0',
    replace: 'failures.count < 0',
    tests: written,
  },
  {
    name: 'a batch with a bad row is not split',
    file: 'src/retention/change-keys.ts',
    find: 'if (!(error instanceof RowsRefused)) throw error;',
    replace: 'throw error;',
    tests: badRows,
  },
  {
    name: 'an operation of which every row fails goes on to the last',
    file: 'src/retention/bad-rows.ts',
    find: 'if (this.count >= mostFailures)',
    replace: 'if (this.count < 0)',
    tests: badRows,
  },
];
