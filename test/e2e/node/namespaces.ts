import { type ChildProcess, execFile } from 'node:child_process';
import { closeSync, openSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ChildProcesses } from '../../support/child-processes.ts';
import { eventually } from '../../support/eventually.ts';

const run = promisify(execFile);

/** The two ends of the cable between this machine and the node. */
export const machineAddress = '10.88.78.1';
export const nodeAddress = '10.88.78.2';
const cable = 'retention-e2e';

/**
 * Namespaces of a node's own: network, mounts and processes. When the first process is killed, everything in them is gone,
 * containers, bridges and rules of iptables with it, and this machine is as it was.
 */
export interface Namespaces {
  /** Runs a program in them to its end. */
  run(command: string, args: string[]): Promise<void>;
  /** Starts a daemon in them, in the folder /, whose output goes to `<name>.log` in the folder. */
  spawn(name: string, command: string, args: string[]): ChildProcess;
}

/** Starts a program in the folder; its output goes to `<name>.log` there. */
export function spawnLogged(children: ChildProcesses, folder: string, name: string, command: string, args: string[]) {
  const log = openSync(join(folder, `${name}.log`), 'a');
  const child = children.spawn(command, args, { cwd: folder, stdio: ['ignore', log, log] });
  closeSync(log);
  return child;
}

/** Makes them, with a cable to this machine and forwarding. */
export async function createNamespaces(children: ChildProcesses, folder: string): Promise<Namespaces> {
  // catatonit -P waits for ever, and for the children of others.
  const flags = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const first = spawnLogged(children, folder, 'unshare', 'unshare', [...flags, 'catatonit', '-P']);
  const of = (name: string) => `/proc/${first.pid}/ns/${name}`;
  await eventually('the namespaces of the node', async () => entered(first, of));
  const enter = [`--net=${of('net')}`, `--mount=${of('mnt')}`, `--pid=${of('pid_for_children')}`, '--'];
  const namespaces: Namespaces = {
    async run(command, args) {
      await run('nsenter', [...enter, command, ...args]);
    },
    spawn: (name, command, args) => spawnLogged(children, folder, name, 'nsenter', [...enter, command, ...args]),
  };
  await connect(String(first.pid), namespaces);
  return namespaces;
}

/** The process namespace can be entered once its first process is there, which is also when all others are. */
function entered(first: ChildProcess, of: (name: string) => string): boolean {
  if (first.exitCode !== null) throw new Error('this machine refuses to make namespaces: is root confined here?');
  try {
    return readlinkSync(of('pid_for_children')) !== readlinkSync('/proc/self/ns/pid');
  } catch {
    return false;
  }
}

async function connect(pid: string, { run: inside }: Namespaces): Promise<void> {
  // One that a killed run has left would have gone with its namespace.
  await run('ip', ['link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pid]);
  await run('ip', ['address', 'add', `${machineAddress}/30`, 'dev', cable]);
  await run('ip', ['link', 'set', cable, 'up']);
  await inside('ip', ['link', 'set', 'lo', 'up']);
  await inside('ip', ['address', 'add', `${nodeAddress}/30`, 'dev', 'eth0']);
  await inside('ip', ['link', 'set', 'eth0', 'up']);
  await inside('ip', ['route', 'add', 'default', 'via', machineAddress]);
  await inside('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
  // Containers share mounts with the kubelet, not with this machine.
  await inside('mount', ['--make-rshared', '/']);
}
