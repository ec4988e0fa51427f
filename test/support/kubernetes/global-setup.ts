import type { TestProject } from 'vitest/node';
import { startControlPlane } from './control-plane.ts';

declare module 'vitest' {
  interface ProvidedContext {
    kubernetes: { kubeconfigPath: string; kubectlPath: string };
  }
}

/** One control plane for all cluster tests of a run; test files reach it by `useCluster()`. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const controlPlane = await startControlPlane({ log: (line) => console.log(`kubernetes: ${line}`) });
  project.provide('kubernetes', {
    kubeconfigPath: controlPlane.kubeconfigPath,
    kubectlPath: controlPlane.kubectlPath,
  });
  return () => controlPlane.stop();
}
