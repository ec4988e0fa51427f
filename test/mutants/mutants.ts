/** One thing taken out of the sources, and the tests that must notice. */
export interface Mutant {
  name: string;
  file: string;
  /** Stands in the file exactly once. */
  find: string;
  replace: string;
  tests: string[];
}

const locks = ['test/postgres/locks.test.ts'];
const races = ['test/postgres/races'];

export const mutants: Mutant[] = [
  {
    name: 'FOR UPDATE: rows are read and not locked',
    file: 'src/retention/batch.ts',
    find: `\${step.lock} of t\${others === 'wait' ? '' : ' skip locked'}`,
    replace: '',
    tests: races,
  },
  {
    name: 'skip locked: a batch waits for every locked row',
    file: 'src/retention/batch.ts',
    find: `others === 'wait' ? '' : ' skip locked'`,
    replace: `''`,
    tests: locks,
  },
  {
    name: 'the re-check: what was locked is deleted without another look for acknowledgements',
    file: 'src/retention/batch.ts',
    find: `        and \${step.due}\`,
    [...own, ...rows.parameters],`,
    replace: `        and \${step.due.replace(/ and not exists.*$/s, '')}\`,
    [...own, ...rows.parameters],`,
    tests: races,
  },
  {
    name: 'the second statement: locked, looked for and deleted in one',
    file: 'src/retention/keyset-walk.ts',
    find: `    const taken = await lockRows(client, operation, step, rowsByKey(primaryKey, keys), primaryKey, others);
`,
    replace: `    if (step.lockFirst) {
      const one = await client.query<{ key: string }>(
        \`with batch as (
           select t.id from \${operation.table} t
            where t.id = any($3) and \${step.due}
              for update\${others === 'wait' ? '' : ' skip locked'})
         delete from \${operation.table} t using batch
          where t.id = batch.id and \${step.due}
         returning t.id::text as key\`,
        [...operation.dueParameters, keys],
      );
      const gone = one.rows.map((row) => row.key);
      return { taken: gone, changed: gone.length };
    }
    const taken = await lockRows(client, operation, step, rowsByKey(primaryKey, keys), primaryKey, others);
`,
    tests: races,
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
    name: 'the advisory lock: two runs at once',
    file: 'src/database/run-lock.ts',
    find: `'select pg_try_advisory_xact_lock($1::int, hashtext($2)) as held'`,
    replace: `'select $1::int is not null and hashtext($2) is not null as held'`,
    tests: ['test/postgres/interrupted-runs.test.ts'],
  },
  {
    name: 'the guard: a run over the limit goes on',
    file: 'src/retention/run.ts',
    find: 'if (plan.violation !== undefined) return blocked(plan.violation);',
    replace: '',
    tests: ['test/postgres/guard.test.ts'],
  },
  {
    name: 'strictly older: what is exactly as old as the cutoff is due',
    file: 'src/retention/instructions.ts',
    find: 't.created_at < $1 and t.status = any($2)',
    replace: 't.created_at <= $1 and t.status = any($2)',
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
      : underRunLock(options, session, stop)
    )`,
    replace: 'await underRunLock(options, session, stop)',
    tests: ['test/postgres/dry-run.test.ts'],
  },
  {
    name: 'a swallowed change counts as done',
    file: 'src/retention/batch.ts',
    find: `if (changed < keys.length && left[0]!.count === '0') return changed;`,
    replace: 'return changed;',
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
    tests: ['test/postgres/interrupted-runs.test.ts'],
  },
];
