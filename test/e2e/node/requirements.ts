import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { findProgram } from '../../support/processes.ts';

const run = promisify(execFile);

/** Programs that a node is made of and this repository does not bring, and the Debian package of each. */
const nodePackages: Record<string, string> = {
  containerd: 'containerd',
  ctr: 'containerd',
  runc: 'runc',
  ip: 'iproute2',
  iptables: 'iptables',
  conntrack: 'conntrack',
  // `bridge` is also a program of iproute2.
  'host-local': 'containernetworking-plugins',
  sysctl: 'procps',
  catatonit: 'catatonit',
  unshare: 'util-linux',
  nsenter: 'util-linux',
};
/** One of these builds the image; on Debian, buildah. */
const builders = ['docker', 'podman', 'buildah'];
const moreFolders = ['/usr/sbin', '/sbin', '/usr/local/sbin', '/usr/lib/cni'];

/** Why no node can be had on this machine, in words for a person; undefined where one can. */
export async function whyNoNode(): Promise<string | undefined> {
  if (process.platform !== 'linux') return `a node needs Linux, and this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'a node needs root';
  const builder: Record<string, string> = (await hasBuilder()) ? {} : { buildah: 'buildah' };
  const missing = await whyMissing({ ...nodePackages, ...builder });
  if (missing) return missing;
  try {
    await run('unshare', ['--mount', '--net', '--pid', '--fork', 'ip', 'link', 'add', 'cni0', 'type', 'bridge']);
    return undefined;
  } catch (error) {
    return `root may not make namespaces and bridges here (${(error as Error).message.trim().split('\n').at(-1)})`;
  }
}

/**
 * Which of these programs (program → Debian package) are missing, in words; undefined where none is. With E2E_INSTALL=yes
 * they are installed by apt-get first.
 */
export async function whyMissing(packages: Record<string, string>): Promise<string | undefined> {
  const missing = () => [...new Set(Object.keys(packages).flatMap((name) => (has(name) ? [] : [packages[name]!])))];
  if (missing().length > 0 && process.env.E2E_INSTALL === 'yes' && findProgram('apt-get')) {
    const failure = await install(missing());
    if (failure) return failure;
  }
  const left = missing();
  return left.length === 0 ? undefined : `missing here: ${left.join(', ')} (E2E_INSTALL=yes installs them by apt-get)`;
}

/** A docker without its daemon builds nothing. */
async function hasBuilder(): Promise<boolean> {
  for (const builder of builders) {
    if (
      has(builder) &&
      (await run(builder, ['info']).then(
        () => true,
        () => false,
      ))
    )
      return true;
  }
  return false;
}

async function install(names: string[]): Promise<string | undefined> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    await run('apt-get', ['update', '-qq'], { env });
    await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...names], { env });
    return undefined;
  } catch (error) {
    return `apt-get did not install ${names.join(', ')}: ${(error as Error).message.trim().split('\n').at(-1)}`;
  }
}

function has(program: string): boolean {
  return findProgram(program, moreFolders) !== undefined;
}
