import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../../..');
interface Package {
  name: string;
  version: string;
}

test('the program’s list of what is in it has every dependency by version and licence, and nothing of development', async () => {
  const out = await mkdtemp(join(tmpdir(), 'retention-bundle-'));
  try {
    await promisify(execFile)(process.execPath, ['build/bundle.ts', out], { cwd: root });
    const bom = JSON.parse(await readFile(join(out, 'retention-operator.cdx.json'), 'utf8')) as {
      components: Package[];
    };
    const listed = new Map(bom.components.map(({ name, version }) => [name, version]));
    const { dependencies, devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
      devDependencies: Record<string, string>;
    };
    expect(Object.fromEntries(listed)).toMatchObject(dependencies);
    expect(Object.keys(devDependencies).filter((name) => listed.has(name))).toEqual([]);
    const licenses = await readFile(join(out, 'licenses'), 'utf8');
    for (const name of Object.keys(dependencies)) expect(licenses).toContain(`== node_modules/${name}/LICENSE`);
  } finally {
    await rm(out, { recursive: true });
  }
}, 60_000);
