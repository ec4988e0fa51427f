// Takes one thing at a time out of a copy of the sources, and runs the tests that must notice it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { startPostgres } from '../support/postgres/server.ts';
import { type Mutant, mutants } from './mutants.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const copied = ['bin', 'src', 'test', 'crds', 'deploy', 'docs', 'package.json', 'tsconfig.json', 'vitest.config.ts'];

const reportSchema = z.object({
  numPassedTests: z.number(),
  testResults: z.array(
    z.object({
      message: z.string(),
      assertionResults: z.array(
        z.object({ status: z.string(), fullName: z.string(), failureMessages: z.array(z.string()).nullish() }),
      ),
    }),
  ),
});

interface Outcome {
  passed: number;
  failures: { test: string; message: string }[];
}

/** A copy of the project, to be spoilt; its packages are the project's own. */
function copyOf(): string {
  const folder = mkdtempSync(join(tmpdir(), 'retention-mutant-'));
  chmodSync(folder, 0o755);
  for (const name of copied) cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** The sources with the mutant in. Throws if its text does not stand there exactly once: then it mutates nothing. */
function mutated({ name, file, find, replace }: Mutant): string {
  const parts = readFileSync(join(root, file), 'utf8').split(find);
  if (parts.length !== 2) throw new Error(`"${name}": its text stands in ${file} ${parts.length - 1} times, not once`);
  return parts.join(replace);
}

/** Runs tests of the copy, by file, or by file and name, until one fails twice. */
async function run(folder: string, adminUrl: string, files: readonly string[], name?: string): Promise<Outcome> {
  const output = join(folder, 'report.json');
  rmSync(output, { force: true });
  const child = spawn(
    process.execPath,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      ...['run', '--project', 'postgres', '--bail', '1', '--retry', '1', '--testTimeout', '40000'],
      ...['--reporter', 'json', '--outputFile', output, ...(name === undefined ? [] : ['-t', name]), ...files],
    ],
    { cwd: folder, env: { ...process.env, TEST_DATABASE_URL: adminUrl }, stdio: 'ignore', timeout: 600_000 },
  );
  await once(child, 'close');
  const { numPassedTests, testResults } = reportSchema.parse(JSON.parse(readFileSync(output, 'utf8')));
  const failures = testResults.flatMap(({ assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName, failureMessages }) => ({ test: fullName.trim(), message: failureMessages?.[0] ?? '' })),
  );
  const broken = testResults.find(({ message, assertionResults }) => message !== '' && assertionResults.length === 0);
  if (broken !== undefined) throw new Error(`tests cannot be run: ${broken.message}`);
  return { passed: numPassedTests, failures };
}

/** One line of a message that fits into a table. */
const short = (message: string) => message.split('\n')[0]!.replaceAll('|', '\\|').slice(0, 120);

const server = await startPostgres();
const folder = copyOf();
let survivors = 0;
try {
  const texts = mutants.map((mutant) => ({ mutant, text: mutated(mutant) }));
  const files = [...new Set(mutants.flatMap(({ tests }) => tests))];
  const sound = await run(folder, server.adminUrl, files);
  if (sound.failures.length > 0)
    throw new Error(`fails without a mutant: ${Object.values(sound.failures[0]!).join('\n')}`);
  process.stderr.write(`${sound.passed} tests pass without a mutant\n`);

  process.stdout.write('| taken out | noticed by | which says |\n|---|---|---|\n');
  for (const { mutant, text } of texts) {
    const path = join(folder, mutant.file);
    writeFileSync(path, text);
    const { failures, passed } = await run(folder, server.adminUrl, mutant.tests, mutant.only);
    cpSync(join(root, mutant.file), path);
    const [first] = failures;
    if (first === undefined && passed === 0) throw new Error(`"${mutant.name}": no test ran`);
    if (first === undefined) survivors += 1;
    const [test, message] = first === undefined ? ['**nothing: it survived**', ''] : [first.test, first.message];
    process.stdout.write(`| ${mutant.name} | ${short(test)} | ${short(message)} |\n`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
  await server.stop();
}
process.stdout.write(`\n${mutants.length - survivors} of ${mutants.length} mutants were noticed\n`);
process.exitCode = survivors === 0 ? 0 : 1;
