import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../../support/processes.ts';
import { pauseImage } from './config.ts';

const run = promisify(execFile);

/** Writes the archive of the image of each Pod's first container, which waits for ever: Debian's catatonit, and no more. */
export async function writePauseImage(folder: string): Promise<string> {
  const at = join(folder, 'pause');
  await mkdir(at);
  const program = findProgram('catatonit');
  if (!program) throw new Error('catatonit is not in PATH');
  await run('tar', ['-C', join(program, '..'), '-cf', join(at, 'layer.tar'), 'catatonit']);
  const layer = createHash('sha256')
    .update(await readFile(join(at, 'layer.tar')))
    .digest('hex');
  const config = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Entrypoint: ['/catatonit', '-P'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${layer}`] },
  };
  const manifest = [{ Config: 'config.json', RepoTags: [pauseImage], Layers: ['layer.tar'] }];
  await writeFile(join(at, 'config.json'), JSON.stringify(config));
  await writeFile(join(at, 'manifest.json'), JSON.stringify(manifest));
  const archive = join(folder, 'pause.tar');
  await run('tar', ['-C', at, '-cf', archive, 'manifest.json', 'config.json', 'layer.tar']);
  return archive;
}
