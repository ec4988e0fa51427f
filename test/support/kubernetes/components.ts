import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { get } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { ChildProcesses } from '../child-processes.ts';
import { type CertificateAuthority, createKeyPair } from '../pki.ts';
import { freePort } from '../processes.ts';
import type { Binaries } from './binaries.ts';

const startTimeout = 60_000;

/** Not podgc, which deletes Pods of Nodes that it does not know. */
const controllers = [
  'clusterrole-aggregation-controller',
  'cronjob-controller',
  'garbage-collector-controller',
  'job-controller',
  'namespace-controller',
  'root-ca-certificate-publisher-controller',
  'serviceaccount-controller',
  'ttl-after-finished-controller',
];

/** The processes of a control plane, their files all in one folder. */
export interface Host {
  folder: string;
  binaries: Binaries;
  children: ChildProcesses;
  ca: CertificateAuthority;
  /** Where the API server listens; on another address than loopback it has real nodes. */
  address: string;
}

const hasNodes = ({ address }: Host) => address !== '127.0.0.1';

/** The API server's certificate, its key for service account tokens, and the authority's certificate. */
export async function writeKeys({ folder, ca, address }: Host): Promise<void> {
  const tokens = await createKeyPair();
  const hosts = ['localhost', address, 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc', '10.0.0.1'];
  const kubeletClient = await ca.issueClient('kube-apiserver', ['system:masters']);
  const { certificate, privateKey } = await ca.issueServer('kube-apiserver', hosts);
  const files = {
    'ca.crt': ca.certificate,
    'apiserver.crt': certificate,
    'apiserver.key': privateKey,
    'kubelet-client.crt': kubeletClient.certificate,
    'kubelet-client.key': kubeletClient.privateKey,
    'sa.pub': tokens.publicKey,
    'sa.key': tokens.privateKey,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text, { mode: 0o600 });
}

/** etcd, reachable by a socket in the folder alone; on the data that it left there, if any. */
export async function startEtcd(host: Host): Promise<ChildProcess> {
  await mkdir(join(host.folder, 'etcd'), { mode: 0o700, recursive: true });
  // One that was killed leaves its socket, which keeps the next one from listening.
  await rm(join(host.folder, 'etcd.sock'), { force: true });
  const url = etcdUrl(host);
  return spawn(host, 'etcd', [
    '--data-dir=etcd',
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    '--listen-peer-urls=http://127.0.0.1:0',
    '--unsafe-no-fsync',
    '--log-level=warn',
  ]);
}

/** Compacts etcd to its newest revision, by the JSON gateway of its own port. */
export async function compactEtcd(host: Host): Promise<void> {
  const { header } = z
    .object({ header: z.object({ revision: z.string() }) })
    .parse(await askEtcd(host, '/v3/kv/range', { key: Buffer.from('/').toString('base64') }));
  await askEtcd(host, '/v3/kv/compaction', { revision: header.revision, physical: true });
}

function askEtcd({ folder }: Host, path: string, body: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const options = { socketPath: join(folder, 'etcd.sock'), path, method: 'POST', agent: false };
    const asked = httpRequest(options, async (response) => {
      try {
        const answer = await text(response);
        if (response.statusCode !== 200) throw new Error(`etcd refuses ${path}: ${answer}`);
        resolve(JSON.parse(answer));
      } catch (error) {
        reject(error);
      }
    });
    asked.on('error', reject);
    asked.end(JSON.stringify(body));
  });
}

/** kube-apiserver on `port`, or on a free one; resolves to its process and port when it is ready. */
export async function startApiServer(host: Host, port?: number): Promise<{ process: ChildProcess; port: number }> {
  const attempts = port === undefined ? 5 : 1;
  for (let attempt = 1; ; attempt++) {
    const chosen = port ?? (await freePort());
    const process = spawn(host, 'kube-apiserver', apiServerArguments(host, chosen));
    try {
      await waitUntilReady(host, process, chosen);
      return { process, port: chosen };
    } catch (error) {
      // Another program may have taken the port since it was chosen.
      if (attempt === attempts || !logTail(host, 'kube-apiserver').includes('address already in use')) throw error;
    }
  }
}

function apiServerArguments(host: Host, port: number): string[] {
  return [
    `--etcd-servers=${etcdUrl(host)}`,
    `--secure-port=${port}`,
    `--bind-address=${host.address}`,
    `--advertise-address=${host.address}`,
    '--service-cluster-ip-range=10.0.0.0/24',
    '--tls-cert-file=apiserver.crt',
    '--tls-private-key-file=apiserver.key',
    '--client-ca-file=ca.crt',
    '--service-account-issuer=https://kubernetes.default.svc',
    '--service-account-key-file=sa.pub',
    '--service-account-signing-key-file=sa.key',
    '--allow-privileged=true',
    ...(hasNodes(host) ? argumentsForNodes : argumentsWithoutNodes),
  ];
}

const argumentsForNodes = [
  '--authorization-mode=Node,RBAC',
  '--enable-admission-plugins=NodeRestriction',
  '--kubelet-client-certificate=kubelet-client.crt',
  '--kubelet-client-key=kubelet-client.key',
  '--kubelet-preferred-address-types=InternalIP',
];
const argumentsWithoutNodes = [
  '--authorization-mode=RBAC',
  // It would refuse a loopback address in the Endpoints of the service `kubernetes`, which nobody here uses.
  '--endpoint-reconciler-type=none',
];

/** kube-controller-manager, with the credentials of `controller-manager.kubeconfig`. */
export function startControllerManager(host: Host): void {
  spawn(host, 'kube-controller-manager', [
    '--kubeconfig=controller-manager.kubeconfig',
    `--controllers=${hasNodes(host) ? '*' : controllers.join(',')}`,
    '--use-service-account-credentials',
    '--root-ca-file=ca.crt',
    '--leader-elect=false',
    '--secure-port=0',
    '--kube-api-qps=200',
    '--kube-api-burst=400',
  ]);
}

function spawn(host: Host, name: keyof Binaries, args: string[]): ChildProcess {
  const log = openSync(join(host.folder, `${name}.log`), 'a');
  const child = host.children.spawn(host.binaries[name], args, { cwd: host.folder, stdio: ['ignore', log, log] });
  closeSync(log);
  return child;
}

function etcdUrl({ folder }: Host): string {
  return `unix://${folder}/etcd.sock`;
}

async function waitUntilReady(host: Host, process: ChildProcess, port: number): Promise<void> {
  const deadline = Date.now() + startTimeout;
  while (!(await answersReady(host, port))) {
    const ended = process.exitCode !== null || process.signalCode !== null;
    if (ended || Date.now() > deadline) {
      const what = ended ? 'ended' : `was not ready within ${startTimeout / 1000} s`;
      const logs = ['etcd', 'kube-apiserver'].map((name) => `${name}: ${logTail(host, name)}`).join('\n');
      throw new Error(`kube-apiserver ${what}. Its log and etcd's end with:\n${logs}`);
    }
    await sleep(50);
  }
}

function answersReady({ address, ca }: Host, port: number): Promise<boolean> {
  const options = { host: address, port, path: '/readyz', ca: ca.certificate, agent: false, timeout: 5000 };
  return new Promise((resolve) => {
    const request = get(options, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}

function logTail({ folder }: Host, name: string): string {
  return readFileSync(join(folder, `${name}.log`), 'utf8').slice(-2000);
}
