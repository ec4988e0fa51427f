import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';

const run = promisify(execFile);
let checkout: string;

beforeEach(async () => {
  checkout = await mkdtemp(join(tmpdir(), 'retention-image-'));
  for (const folder of ['build', 'bin']) await mkdir(join(checkout, folder));
  await copyFile(join(import.meta.dirname, '../../../build/image.sh'), join(checkout, 'build/image.sh'));
  await writeFile(join(checkout, 'package.json'), '{\n  "name": "retention-operator",\n  "version": "1.2.3"\n}\n');
  // An engine that only says what it is asked for.
  const engine = '#!/bin/sh\nif [ "$1" = build ]; then printf "%s\\n" "$@"; fi\n';
  await writeFile(join(checkout, 'bin/docker'), engine, { mode: 0o755 });
  await git('init', '--quiet');
  await git('add', '.');
  await git('-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '--quiet', '--message=first');
});

afterEach(() => rm(checkout, { recursive: true }));

const git = (...args: string[]) => run('git', args, { cwd: checkout });

/** What `make image` asks the engine for. */
async function build(env: NodeJS.ProcessEnv = {}): Promise<string[]> {
  const { IMAGE: _, ...outside } = process.env;
  const own = { ...outside, PATH: `${join(checkout, 'bin')}:${process.env.PATH}`, ...env };
  const { stdout } = await run('sh', ['build/image.sh'], { cwd: checkout, env: own });
  return stdout.split('\n');
}

test('the image has the version of package.json, which the chart asks for, unless IMAGE names another', async () => {
  expect(await build()).toEqual(expect.arrayContaining(['--tag', 'retention-operator:1.2.3', 'VERSION=1.2.3']));
  const named = await build({ IMAGE: 'my-registry/o:9' });
  expect(named).toEqual(expect.arrayContaining(['--tag', 'my-registry/o:9', 'VERSION=1.2.3']));
});

test('its label says which commit it is of, and whether there was more', async () => {
  const commit = (await git('rev-parse', 'HEAD')).stdout.trim();
  expect(await build()).toContain(`REVISION=${commit}`);
  await writeFile(join(checkout, 'build/image.sh'), '# changed\n', { flag: 'a' });
  expect(await build()).toContain(`REVISION=${commit}-dirty`);
});
