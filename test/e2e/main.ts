import { once } from 'node:events';
import { say } from '../bench/progress.ts';
import { ChildProcesses, killChild } from '../support/child-processes.ts';
import { diagnose } from './diagnose.ts';
import { givenCluster } from './given-cluster.ts';
import { whyNoNode } from './node/requirements.ts';
import { type E2eCluster, startOwnCluster } from './own-cluster.ts';

/** Brings up a cluster, or takes the one that is given, runs the tests of this folder on it, and takes it down. */
async function main(): Promise<number> {
  const cluster = await findCluster();
  if (!cluster) return 0;
  // From here on there is something to take down; before, all goes with this process.
  const interrupted = onInterruption();
  try {
    const code = await runTests(cluster, interrupted);
    if (code !== 0 && !interrupted.aborted) await diagnose(cluster);
    return code;
  } finally {
    await cluster.stop();
  }
}

/** Aborted by Ctrl-C and the like, with the exit code that a shell gives. */
function onInterruption(): AbortSignal {
  const interrupted = new AbortController();
  for (const [signal, code] of Object.entries({ SIGHUP: 129, SIGINT: 130, SIGTERM: 143 })) {
    process.once(signal, () => interrupted.abort(code));
  }
  return interrupted.signal;
}

async function findCluster(): Promise<E2eCluster | undefined> {
  if (process.env.KUBECONFIG) return givenCluster(process.env);
  const reason = await whyNoNode();
  if (reason === undefined) return startOwnCluster(say);
  const line = '!'.repeat(80);
  const how = 'Or give a cluster: KUBECONFIG, E2E_IMAGE and E2E_MACHINE_ADDRESS (see CONTRIBUTING.md).';
  process.stderr.write(`${line}\ne2e SKIPPED, nothing was tested: ${reason}.\n${how}\n${line}\n`);
  return undefined;
}

async function runTests(cluster: E2eCluster, interrupted: AbortSignal): Promise<number> {
  const { kubeconfigPath, kubectlPath, image, machineAddress } = cluster;
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/e2e/vitest.config.ts'];
  const children = new ChildProcesses();
  try {
    const vitest = children.spawn(process.execPath, [...args, ...process.argv.slice(2)], {
      env: { ...process.env, E2E_CLUSTER: JSON.stringify({ kubeconfigPath, kubectlPath, image, machineAddress }) },
      stdio: 'inherit',
    });
    interrupted.addEventListener('abort', () => void killChild(vitest));
    const [code] = await once(vitest, 'exit');
    return interrupted.aborted ? interrupted.reason : (code ?? 1);
  } finally {
    await children.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`e2e: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
