import type { TestProject } from 'vitest/node';
import { z } from 'zod';
import type {} from '../support/kubernetes/global-setup.ts';

const schema = z.object({
  kubeconfigPath: z.string(),
  kubectlPath: z.string(),
  image: z.string(),
  machineAddress: z.string(),
});

declare module 'vitest' {
  interface ProvidedContext {
    e2e: Pick<z.infer<typeof schema>, 'image' | 'machineAddress'>;
  }
}

/** Hands the cluster of main.ts to the tests. */
export default function setup(project: TestProject): void {
  const text = process.env.E2E_CLUSTER;
  if (!text) throw new Error('these tests need the cluster that `make e2e` brings up');
  const { kubeconfigPath, kubectlPath, image, machineAddress } = schema.parse(JSON.parse(text));
  project.provide('kubernetes', [{ kubeconfigPath, kubectlPath }]);
  project.provide('e2e', { image, machineAddress });
}
