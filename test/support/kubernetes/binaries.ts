import { access, constants, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { buildBinary } from './build.ts';
import { downloadBinary } from './download.ts';

export const versions = { kubernetes: 'v1.36.3', etcd: 'v3.7.3', helm: 'v4.2.3', coredns: 'v1.15.0' };

const controlPlane = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kubectl'] as const;
/** What a cluster with a real node has beyond its control plane. */
const node = ['kube-scheduler', 'kubelet', 'kube-proxy', 'coredns'] as const;

/** What a control plane is made of, and kubectl: absolute paths. */
export type Binaries = Record<(typeof controlPlane)[number], string>;
export type NodeBinaries = Record<(typeof node)[number], string>;
export type BinaryName = keyof Binaries | keyof NodeBinaries | 'helm';
/** Takes one line for a person. */
export type Log = (line: string) => void;

/** One binary, for one platform as Go names it. */
export interface Binary {
  name: BinaryName;
  version: string;
  os: string;
  arch: string;
}

/** Where binaries come from, in the order in which they are asked. */
export interface Sources {
  /** The folder of KUBEBUILDER_ASSETS, if set. */
  assetsFolder: string | undefined;
  cacheFolder: string;
  download(binary: Binary, folder: string, log: Log): Promise<string>;
  build(binary: Binary, folder: string, log: Log): Promise<string>;
}

/** The sources that the environment of this process asks for. */
export function sourcesFromEnvironment(env: NodeJS.ProcessEnv = process.env): Sources {
  return {
    assetsFolder: env.KUBEBUILDER_ASSETS || undefined,
    cacheFolder: join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'retention-operator'),
    download: (binary, folder, log) => downloadBinary(binary, folder, log, env),
    build: buildBinary,
  };
}

/** All binaries of a control plane; what is not at hand is downloaded or built, which can take minutes. */
export function findBinaries(log: Log, sources = sourcesFromEnvironment()): Promise<Binaries> {
  return findAll(controlPlane, log, sources);
}

/** The same of what a real node adds. */
export function findNodeBinaries(log: Log, sources = sourcesFromEnvironment()): Promise<NodeBinaries> {
  return findAll(node, log, sources);
}

async function findAll<Name extends BinaryName>(names: readonly Name[], log: Log, sources: Sources) {
  const found: [Name, string][] = [];
  for (const name of names) found.push([name, await findBinary(name, log, sources)]);
  return Object.fromEntries(found) as Record<Name, string>;
}

/**
 * The path of one binary: from KUBEBUILDER_ASSETS, the cache, a verified download or a build, whichever has it first.
 * Fails with one error that tells what each of them said.
 */
export async function findBinary(name: BinaryName, log: Log, sources: Sources): Promise<string> {
  const version = name in versions ? versions[name as keyof typeof versions] : versions.kubernetes;
  const binary: Binary = { name, version, os: process.platform, arch: process.arch === 'x64' ? 'amd64' : process.arch };
  const cached = join(sources.cacheFolder, `${name}-${version}-${binary.os}-${binary.arch}`);
  const tried: string[] = [];

  if (sources.assetsFolder) {
    const asset = join(sources.assetsFolder, name);
    if (await isExecutable(asset)) return asset;
    tried.push(`KUBEBUILDER_ASSETS: there is no ${asset}`);
  } else {
    tried.push('KUBEBUILDER_ASSETS: not set');
  }

  if (await isExecutable(cached)) return cached;
  tried.push(`cache: there is no ${cached}`);

  for (const source of ['download', 'build'] as const) {
    try {
      await addToCache(cached, sources.cacheFolder, (folder) => sources[source](binary, folder, log));
      return cached;
    } catch (error) {
      const reason = (error as Error).message;
      log(`${source} of ${name} ${version}: ${reason}`);
      tried.push(`${source}: ${reason}`);
    }
  }
  throw new Error(
    `${name} ${version} was not found:\n${tried.map((line) => `  - ${line}\n`).join('')}` +
      'Connect to the network, or install Go, or set KUBEBUILDER_ASSETS to a folder that has it.',
  );
}

/** `make` leaves the file in a folder beside the cache's files; a rename puts it in its place, whole or not at all. */
async function addToCache(cached: string, cacheFolder: string, make: (folder: string) => Promise<string>) {
  await mkdir(cacheFolder, { recursive: true });
  const folder = await mkdtemp(join(cacheFolder, '.new-'));
  try {
    await rename(await make(folder), cached);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
