import { defineConfig } from 'vitest/config';

// Run by main.ts, which brings up the cluster: one worker, since a drained node is everybody's.
export default defineConfig({
  test: {
    name: 'e2e',
    include: ['test/e2e/**/*.test.ts'],
    globalSetup: ['test/e2e/global-setup.ts'],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    fileParallelism: false,
  },
});
