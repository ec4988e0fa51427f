import type { TestProject } from 'vitest/node';
import { findBinaries } from './binaries.ts';
import { startControlPlane } from './control-plane.ts';

interface ControlPlaneAccess {
  kubeconfigPath: string;
  kubectlPath: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    /** One for each worker of vitest, in the order of VITEST_POOL_ID. */
    kubernetes: ControlPlaneAccess[];
  }
}

/**
 * A control plane for each worker, since controllers and nodes of two test files would meet on one; test files reach
 * theirs by `useCluster()`.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const log = (line: string) => console.log(`kubernetes: ${line}`);
  // Once before all start, or each would build what is not at hand.
  await findBinaries(log);
  const starting = Array.from({ length: project.config.maxWorkers }, () => startControlPlane({ log }));
  const controlPlanes = await Promise.all(starting);
  const access = controlPlanes.map(({ kubeconfigPath, kubectlPath }) => ({ kubeconfigPath, kubectlPath }));
  project.provide('kubernetes', access);
  return async () => {
    await Promise.all(controlPlanes.map((controlPlane) => controlPlane.stop()));
  };
}
