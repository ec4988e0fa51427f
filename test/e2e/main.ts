import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { say } from '../bench/progress.ts';
import { givenCluster } from './given-cluster.ts';
import { whyNoNode } from './node/requirements.ts';
import { type E2eCluster, startOwnCluster } from './own-cluster.ts';

/** Brings up a cluster, or takes the one that is given, runs the tests of this folder on it, and takes it down. */
async function main(): Promise<number> {
  const cluster = await findCluster();
  if (!cluster) return 0;
  try {
    const { kubeconfigPath, kubectlPath, image, machineAddress } = cluster;
    const vitest = spawn(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--config', config, ...filters], {
      env: { ...process.env, E2E_CLUSTER: JSON.stringify({ kubeconfigPath, kubectlPath, image, machineAddress }) },
      stdio: 'inherit',
    });
    const [code] = await once(vitest, 'exit');
    return code ?? 1;
  } finally {
    await cluster.stop();
  }
}

const config = 'test/e2e/vitest.config.ts';
const filters = process.argv.slice(2);

async function findCluster(): Promise<E2eCluster | undefined> {
  if (process.env.KUBECONFIG) return givenCluster(process.env);
  const reason = await whyNoNode();
  if (reason === undefined) return startOwnCluster(say);
  const line = '!'.repeat(80);
  const how = 'Or give a cluster: KUBECONFIG, E2E_IMAGE and E2E_MACHINE_ADDRESS (see CONTRIBUTING.md).';
  process.stderr.write(`${line}\ne2e SKIPPED, nothing was tested: ${reason}.\n${how}\n${line}\n`);
  return undefined;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`e2e: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
