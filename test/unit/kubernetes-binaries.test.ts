import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  type BinaryName,
  findBinary,
  type Sources,
  sourcesFromEnvironment,
  versions,
} from '../support/kubernetes/binaries.ts';

const { kubernetes, etcd, helm, coredns } = versions;
const platform = process.platform;
const arch = process.arch === 'x64' ? 'amd64' : process.arch;
const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');

let folder: string;
let cache: string;
let lines: string[];
let cleanUp: (() => void)[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'retention-binaries-'));
  cache = join(folder, 'cache', 'retention-operator');
  lines = [];
  cleanUp = [() => rmSync(folder, { recursive: true })];
});

afterEach(() => {
  for (const step of cleanUp.reverse()) step();
});

/** Serves these files, by path; any other is a 404, and `null` is never answered. Gives its address and the requests. */
async function serve(files: Record<string, string | Buffer | null>) {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    requests.push(path);
    const file = files[path];
    if (file === null) return;
    response.statusCode = file === undefined ? 404 : 200;
    response.end(file);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  cleanUp.push(close);
  return { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, close };
}

/** The sources under test, with both release addresses at `base` and a build that writes `built NAME`. */
function sourcesAt(base: string, env: NodeJS.ProcessEnv = {}): Sources {
  const sources = sourcesFromEnvironment({
    XDG_CACHE_HOME: join(folder, 'cache'),
    RETENTION_DOWNLOAD_BASE_KUBERNETES: base,
    RETENTION_DOWNLOAD_BASE_ETCD: base,
    RETENTION_DOWNLOAD_BASE_HELM: base,
    RETENTION_DOWNLOAD_BASE_COREDNS: base,
    ...env,
  });
  const build: Sources['build'] = async (binary, target) =>
    executable(join(target, binary.name), `built ${binary.name}`);
  return { ...sources, build };
}

function executable(path: string, content: string): string {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  chmodSync(path, 0o755);
  return path;
}

const find = (name: BinaryName, sources: Sources) => findBinary(name, (line) => lines.push(line), sources);
const cachedPath = (name: BinaryName) =>
  join(cache, `${name}-${name === 'etcd' ? etcd : kubernetes}-${platform}-${arch}`);
const release = (name: BinaryName) => `/${kubernetes}/bin/${platform}/${arch}/${name}`;

test('a download whose SHA-256 is the published one is cached as an executable, and not fetched again', async () => {
  const server = await serve({
    [release('kubectl')]: '#!/bin/sh\necho downloaded',
    [`${release('kubectl')}.sha256`]: `${sha256('#!/bin/sh\necho downloaded')}\n`,
  });
  const path = await find('kubectl', sourcesAt(server.base));
  expect(path).toBe(cachedPath('kubectl'));
  expect(execFileSync(path, { encoding: 'utf8' })).toBe('downloaded\n');
  expect(lines.join()).toContain(`downloading ${server.base}${release('kubectl')}`);

  server.close();
  expect(await find('kubectl', sourcesAt(server.base))).toBe(path);
  expect(server.requests).toHaveLength(2);
});

test('a download with another SHA-256 is refused, never cached, and the next source is used', async () => {
  const server = await serve({
    [release('kube-apiserver')]: 'tampered',
    [`${release('kube-apiserver')}.sha256`]: sha256('genuine'),
  });
  const path = await find('kube-apiserver', sourcesAt(server.base));
  expect(readFileSync(path, 'utf8')).toBe('built kube-apiserver');
  expect(lines.join()).toContain(`its SHA-256 is ${sha256('tampered')}, published is ${sha256('genuine')}`);
  expect(readdirSync(cache)).toHaveLength(1);
});

test('a published checksum that is none is refused', async () => {
  const server = await serve({
    [release('kubectl')]: 'a page',
    [`${release('kubectl')}.sha256`]: '<html>sign in</html>',
  });
  expect(readFileSync(await find('kubectl', sourcesAt(server.base)), 'utf8')).toBe('built kubectl');
  expect(lines.join()).toContain('is no SHA-256: <html>sign in</html>');
});

test('etcd is taken out of its archive, which SHA256SUMS must list with the right sum', async () => {
  const stem = `etcd-${etcd}-${platform}-${arch}`;
  const archive = `${stem}${platform === 'linux' ? '.tar.gz' : '.zip'}`;
  executable(join(folder, stem, 'etcd'), 'the real etcd');
  executable(join(folder, stem, 'etcdctl'), 'something else');
  execFileSync('tar', ['-caf', archive, stem], { cwd: folder });
  const data = readFileSync(join(folder, archive));

  const good = await serve({
    [`/${etcd}/${archive}`]: data,
    [`/${etcd}/SHA256SUMS`]: `${sha256('x')}  other.zip\n${sha256(data)}  ${archive}\n`,
  });
  expect(readFileSync(await find('etcd', sourcesAt(good.base)), 'utf8')).toBe('the real etcd');

  rmSync(cache, { recursive: true });
  const unlisted = await serve({
    [`/${etcd}/${archive}`]: data,
    [`/${etcd}/SHA256SUMS`]: `${sha256(data)}  other.zip\n`,
  });
  expect(readFileSync(await find('etcd', sourcesAt(unlisted.base)), 'utf8')).toBe('built etcd');
  expect(lines.join()).toContain(`does not list ${archive}`);
});

test.each<{ name: BinaryName; path: string; member: string; sum: string }>([
  {
    name: 'helm',
    path: `/helm-${helm}-${platform}-${arch}.tar.gz`,
    member: `${platform}-${arch}/helm`,
    sum: 'sha256sum',
  },
  {
    name: 'coredns',
    path: `/${coredns}/coredns_${coredns.slice(1)}_${platform}_${arch}.tgz`,
    member: 'coredns',
    sum: 'sha256',
  },
])(
  '$name is taken out of its archive, which must have the sum published beside it',
  async ({ name, path, member, sum }) => {
    executable(join(folder, member), `the real ${name}`);
    execFileSync('tar', ['-czf', 'archive', member], { cwd: folder });
    const data = readFileSync(join(folder, 'archive'));

    const good = await serve({ [path]: data, [`${path}.${sum}`]: `${sha256(data)}  archive\n` });
    expect(readFileSync(await find(name, sourcesAt(good.base)), 'utf8')).toBe(`the real ${name}`);

    rmSync(cache, { recursive: true });
    const other = await serve({ [path]: data, [`${path}.${sum}`]: `${sha256('x')}  archive\n` });
    expect(readFileSync(await find(name, sourcesAt(other.base)), 'utf8')).toBe(`built ${name}`);
  },
);

test('KUBEBUILDER_ASSETS wins over the cache, for the binaries that it has', async () => {
  const assets = join(folder, 'assets');
  executable(join(assets, 'etcd'), 'asset');
  executable(cachedPath('etcd'), 'cached');
  executable(cachedPath('kubectl'), 'cached');
  const server = await serve({});
  const sources = sourcesAt(server.base, { KUBEBUILDER_ASSETS: assets });
  expect(await find('etcd', sources)).toBe(join(assets, 'etcd'));
  expect(await find('kubectl', sources)).toBe(cachedPath('kubectl'));
  expect(server.requests).toEqual([]);
});

test('without a network the binary is built', async () => {
  const server = await serve({});
  server.close();
  expect(readFileSync(await find('kubectl', sourcesAt(server.base)), 'utf8')).toBe('built kubectl');
  expect(lines.join()).toContain('ECONNREFUSED');
});

test('a server that never answers is given up within seconds', async () => {
  const server = await serve({ [`${release('kubectl')}.sha256`]: null });
  const start = Date.now();
  expect(readFileSync(await find('kubectl', sourcesAt(server.base)), 'utf8')).toBe('built kubectl');
  expect(Date.now() - start).toBeLessThan(10_000);
  expect(lines.join()).toContain('did not answer for 5 s');
}, 20_000);

test('two that look for the same binary at once both get it, whole, and leave nothing else behind', async () => {
  const content = 'x'.repeat(5_000_000);
  const server = await serve({
    [release('kubectl')]: content,
    [`${release('kubectl')}.sha256`]: sha256(content),
  });
  const paths = await Promise.all([1, 2, 3].map(() => find('kubectl', sourcesAt(server.base))));
  expect(new Set(paths)).toEqual(new Set([cachedPath('kubectl')]));
  expect(readFileSync(cachedPath('kubectl'), 'utf8') === content).toBe(true);
  expect(readdirSync(cache)).toHaveLength(1);
});

test('when nothing works, one error says what each source said', async () => {
  const server = await serve({});
  const build: Sources['build'] = () => Promise.reject(new Error('Go is not installed (no `go` in PATH)'));
  const sources = { ...sourcesAt(server.base, { KUBEBUILDER_ASSETS: '/nowhere' }), build };
  const error = await find('kubectl', sources).catch((reason: Error) => reason);
  expect((error as Error).message.split('\n')).toEqual([
    `kubectl ${kubernetes} was not found:`,
    '  - KUBEBUILDER_ASSETS: there is no /nowhere/kubectl',
    `  - cache: there is no ${cachedPath('kubectl')}`,
    `  - download: ${server.base}${release('kubectl')}.sha256 answers HTTP 404`,
    '  - build: Go is not installed (no `go` in PATH)',
    'Connect to the network, or install Go, or set KUBEBUILDER_ASSETS to a folder that has it.',
  ]);
  expect(readdirSync(cache)).toEqual([]);
});

test('downloads and builds are of the same versions', () => {
  const required = (module: string, path: string) => {
    const goMod = readFileSync(join(import.meta.dirname, `../support/kubernetes/modules/${module}/go.mod`), 'utf8');
    return goMod.split(`${path} `)[1]?.split(/\s/)[0];
  };
  expect(required('kube', 'k8s.io/kubernetes')).toBe(kubernetes);
  expect(required('etcd', 'go.etcd.io/etcd/server/v3')).toBe(etcd);
});
