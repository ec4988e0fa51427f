// Takes one thing at a time out of a copy of the sources, and runs the tests that must notice it.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type Mutant, mutants } from './mutants.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const copied = ['src', 'test', 'crds', 'deploy', 'docs', 'package.json', 'tsconfig.json', 'vitest.config.ts'];

const reportSchema = z.object({
  numPassedTests: z.number(),
  testResults: z.array(z.object({ assertionResults: z.array(z.object({ status: z.string(), fullName: z.string() })) })),
});

/** A copy of the project, to be spoilt; its packages are the project's own. */
function copyOf(): string {
  const folder = mkdtempSync(join(tmpdir(), 'retention-mutant-'));
  chmodSync(folder, 0o755);
  for (const name of copied) cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** Writes the mutant into the copy. Throws if its text does not stand there exactly once: then it mutates nothing. */
function apply({ name, file, find, replace }: Mutant, folder: string): void {
  const path = join(folder, file);
  const parts = readFileSync(path, 'utf8').split(find);
  if (parts.length !== 2) throw new Error(`"${name}": its text stands in ${file} ${parts.length - 1} times, not once`);
  writeFileSync(path, parts.join(replace));
}

/** The tests that fail on a mutant, of those that must; throws where none ran at all. */
function failures({ name, tests }: Mutant, folder: string): string[] {
  const output = join(folder, 'report.json');
  const { stderr } = spawnSync(
    process.execPath,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      ...['run', '--project', 'postgres', '--bail', '1', '--testTimeout', '20000'],
      ...['--reporter', 'json', '--outputFile', output, ...tests],
    ],
    { cwd: folder, encoding: 'utf8', timeout: 300_000 },
  );
  const report = reportSchema.parse(JSON.parse(readFileSync(output, 'utf8')));
  const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
  const failed = results.filter(({ status }) => status === 'failed');
  if (failed.length === 0 && report.numPassedTests === 0) throw new Error(`"${name}": no test ran: ${stderr}`);
  return failed.map(({ fullName }) => fullName.trim());
}

let survivors = 0;
process.stdout.write('| taken out | noticed by |\n|---|---|\n');
for (const mutant of mutants) {
  const folder = copyOf();
  try {
    apply(mutant, folder);
    const [first] = failures(mutant, folder);
    if (first === undefined) survivors += 1;
    process.stdout.write(`| ${mutant.name} | ${first ?? '**nothing: it survived**'} |\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
process.stdout.write(`\n${mutants.length - survivors} of ${mutants.length} mutants were noticed\n`);
process.exitCode = survivors === 0 ? 0 : 1;
