import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Log } from '../support/kubernetes/binaries.ts';
import { withProgress } from '../support/kubernetes/progress.ts';
import { whyMissing } from './node/requirements.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const image = 'localhost/retention-operator:e2e';
/** What podman and buildah, and docker, say of an image to build on that they can't pull. */
const notPulled = /initializing source|failed to resolve source/;
const baseImage = 'localhost/retention-node-base:24';

/**
 * Builds the image as `make image` does, and writes its archive. Where the default image to build on can't be pulled, one is
 * made of Debian's packages first; NODE_IMAGE names another.
 */
export async function buildImage(folder: string, log: Log): Promise<{ image: string; archive: string }> {
  const archive = join(folder, 'image.tar');
  const build = (nodeImage?: string) =>
    runScript('build/image.sh', [], { IMAGE: image, ARCHIVE: archive, ...(nodeImage && { NODE_IMAGE: nodeImage }) });
  const buildFromPackages = async (failure: Error) => {
    if (process.env.NODE_IMAGE || !notPulled.test(failure.message)) throw failure;
    log(`not on the default image: ${failure.message.trim().split('\n').at(-1)}`);
    const missing = await whyMissing({ debootstrap: 'debootstrap' });
    if (missing) throw new Error(missing, { cause: failure });
    await runScript('build/node-image.sh', [baseImage]);
    await build(baseImage);
  };
  await withProgress(
    log,
    () => 'building the image',
    () => build().catch(buildFromPackages),
  );
  return { image, archive };
}

async function runScript(script: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  // What a build runs needs no container, and a container more rights than root has on some machines.
  const own = { ...process.env, BUILDAH_ISOLATION: 'chroot', ...env };
  await run('sh', [script, ...args], { cwd: root, env: own, maxBuffer: 100_000_000 });
}
