import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import type { Binary, Log } from './binaries.ts';
import { withProgress } from './progress.ts';

/** The official release downloads; RETENTION_DOWNLOAD_BASE_KUBERNETES, _ETCD, … name mirrors of the same layout. */
const officialReleases = {
  RETENTION_DOWNLOAD_BASE_KUBERNETES: 'https://dl.k8s.io/release',
  RETENTION_DOWNLOAD_BASE_ETCD: 'https://github.com/etcd-io/etcd/releases/download',
  RETENTION_DOWNLOAD_BASE_HELM: 'https://get.helm.sh',
  RETENTION_DOWNLOAD_BASE_COREDNS: 'https://github.com/coredns/coredns/releases/download',
};

/** Milliseconds until a server must have begun to answer, and the longest pause within an answer. */
const answerTimeout = 5_000;
const stallTimeout = 20_000;

/** Downloads a binary of a release into `folder`, and refuses it unless its published SHA-256 is right. */
export async function downloadBinary(
  binary: Binary,
  folder: string,
  log: Log,
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const base = (name: keyof typeof officialReleases) => (env[name] || officialReleases[name]).replace(/\/$/, '');
  if (binary.name === 'etcd') return downloadEtcd(binary, base('RETENTION_DOWNLOAD_BASE_ETCD'), folder, log);
  if (binary.name === 'helm') return downloadHelm(binary, base('RETENTION_DOWNLOAD_BASE_HELM'), folder, log);
  if (binary.name === 'coredns') return downloadCoreDns(binary, base('RETENTION_DOWNLOAD_BASE_COREDNS'), folder, log);

  const { name, version, os, arch } = binary;
  const url = `${base('RETENTION_DOWNLOAD_BASE_KUBERNETES')}/${version}/bin/${os}/${arch}/${name}`;
  const expected = (await fetchText(`${url}.sha256`)).trim();
  const file = join(folder, name);
  await fetchVerified(url, expected, file, log);
  await chmod(file, 0o755);
  return file;
}

/** etcd comes in an archive, and the checksums of all its archives in one file. */
async function downloadEtcd(binary: Binary, base: string, folder: string, log: Log): Promise<string> {
  const stem = `etcd-${binary.version}-${binary.os}-${binary.arch}`;
  const archive = `${stem}${binary.os === 'linux' ? '.tar.gz' : '.zip'}`;
  const sums = await fetchText(`${base}/${binary.version}/SHA256SUMS`);
  const expected = sums
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find(([, name]) => name === archive)?.[0];
  if (!expected) throw new Error(`${base}/${binary.version}/SHA256SUMS does not list ${archive}`);
  await fetchVerified(`${base}/${binary.version}/${archive}`, expected, join(folder, archive), log);
  // The tar of macOS, where the archive is a zip, reads both.
  await promisify(execFile)('tar', ['-xf', archive, `${stem}/etcd`], { cwd: folder });
  return join(folder, stem, 'etcd');
}

function downloadHelm({ version, os, arch }: Binary, base: string, folder: string, log: Log): Promise<string> {
  const url = `${base}/helm-${version}-${os}-${arch}.tar.gz`;
  return fromArchive(url, `${url}.sha256sum`, `${os}-${arch}/helm`, folder, log);
}

function downloadCoreDns({ version, os, arch }: Binary, base: string, folder: string, log: Log): Promise<string> {
  const url = `${base}/${version}/coredns_${version.slice(1)}_${os}_${arch}.tgz`;
  return fromArchive(url, `${url}.sha256`, 'coredns', folder, log);
}

/** A file out of an archive that has a line `<checksum>  <archive>` at an address of its own. */
async function fromArchive(url: string, sumUrl: string, member: string, folder: string, log: Log): Promise<string> {
  const [expected = ''] = (await fetchText(sumUrl)).trim().split(/\s+/);
  const archive = join(folder, 'archive');
  await fetchVerified(url, expected, archive, log);
  await promisify(execFile)('tar', ['-xf', archive, member], { cwd: folder });
  return join(folder, member);
}

function fetchText(url: string): Promise<string> {
  return request(url, (response) => response.text());
}

async function fetchVerified(url: string, expected: string, file: string, log: Log): Promise<void> {
  if (!/^[0-9a-f]{64}$/i.test(expected)) throw new Error(`the published SHA-256 of ${url} is no SHA-256: ${expected}`);
  const hash = createHash('sha256');
  let received = 0;
  const download = () =>
    request(url, (response, extend) =>
      pipeline(
        response.body!,
        async function* (chunks: AsyncIterable<Uint8Array>) {
          for await (const chunk of chunks) {
            extend();
            received += chunk.length;
            hash.update(chunk);
            yield chunk;
          }
        },
        createWriteStream(file),
      ),
    );
  await withProgress(log, () => `downloading ${url}: ${(received / 1e6).toFixed(0)} MB`, download);
  const actual = hash.digest('hex');
  if (actual !== expected.toLowerCase()) {
    throw new Error(`refused ${url}: its SHA-256 is ${actual}, published is ${expected}`);
  }
}

/**
 * A GET whose connection and pauses are bounded, so that a machine without a network goes on within seconds. `read` takes
 * the body and calls `extend` for every piece of it.
 */
async function request<T>(url: string, read: (response: Response, extend: () => void) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const abortAfter = (ms: number) =>
    setTimeout(() => controller.abort(new Error(`${url} did not answer for ${ms / 1000} s`)), ms);
  let timer = abortAfter(answerTimeout);
  const extend = () => {
    clearTimeout(timer);
    timer = abortAfter(stallTimeout);
  };
  try {
    const response = await fetch(url, { signal: controller.signal });
    if (!response.ok) throw new Error(`${url} answers HTTP ${response.status}`);
    extend();
    return await read(response, extend);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // fetch hides what happened behind "fetch failed".
    throw new Error(`${url}: ${(error.cause as Error | undefined)?.message ?? error.message}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}
