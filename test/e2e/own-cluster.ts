import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ChildProcesses } from '../support/child-processes.ts';
import type { Log } from '../support/kubernetes/binaries.ts';
import { type ControlPlane, startControlPlane } from '../support/kubernetes/control-plane.ts';
import { buildImage } from './image.ts';
import { createNamespaces, machineAddress } from './node/namespaces.ts';
import { startNode } from './node/node.ts';
import { writePauseImage } from './node/pause.ts';

/** A cluster with a real node, for the end-to-end tests. */
export interface E2eCluster {
  kubeconfigPath: string;
  kubectlPath: string;
  /** The operator's image, as the cluster's nodes know it. */
  image: string;
  /** Where Pods reach this machine. */
  machineAddress: string;
  stop(): Promise<void>;
}

/** Brings up a control plane and a node on this machine, with an image built from these sources. */
export async function startOwnCluster(log: Log): Promise<E2eCluster> {
  // The sockets in it must have paths of less than 108 bytes, and containerd takes no tmpfs for its overlays.
  const folder = await mkdtemp('/var/tmp/retention-e2e-');
  const children = new ChildProcesses(folder);
  let plane: ControlPlane | undefined;
  try {
    const { image, archive } = await buildImage(folder, log);
    const archives = [archive, await writePauseImage(folder)];
    const namespaces = await createNamespaces(children, folder);
    plane = await startControlPlane({ log, address: machineAddress });
    await startNode({ plane, namespaces, children, folder, log, archives });
    const { kubeconfigPath, kubectlPath, stop } = plane;
    return {
      kubeconfigPath,
      kubectlPath,
      image,
      machineAddress,
      stop: async () => {
        await children.close();
        await stop();
      },
    };
  } catch (error) {
    await sayLogs(folder);
    await children.close();
    await plane?.stop();
    throw error;
  }
}

/** The logs' ends, which are gone with the folder. */
async function sayLogs(folder: string): Promise<void> {
  for (const name of (await readdir(folder)).filter((file) => file.endsWith('.log'))) {
    const log = await readFile(join(folder, name), 'utf8');
    process.stderr.write(`\n# ${name}\n${log.split('\n').slice(-20).join('\n')}\n`);
  }
}
