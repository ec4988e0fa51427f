import { defineConfig } from 'vitest/config';

// Much of their time tests wait, for a run to end or for a Job to start; more workers than two cores would only wear
// these out. All projects have as many, so that their files share one queue; each worker has a control plane of its own.
const maxWorkers = 3;

/** The oldest major that the lock file has for this platform. */
const oldestPostgres = process.platform === 'linux' && process.arch === 'x64' ? '14' : '15';

/** Every test on a real PostgreSQL, by the server that `env` asks for (test/support/postgres/server.ts). */
function postgres(name: string, env: Record<string, string>, exclude: string[] = []) {
  return {
    test: {
      name,
      env,
      include: ['test/postgres/**/*.test.ts'],
      exclude,
      globalSetup: ['test/support/postgres/global-setup.ts'],
      testTimeout: 60_000,
      hookTimeout: 120_000,
      maxWorkers,
    },
  };
}

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 60_000, maxWorkers } },
      postgres('postgres', {}),
      // The crash tests number a run's statements, and there these are not the same from run to run along the blocks.
      postgres(`postgres-${oldestPostgres}`, { TEST_POSTGRES: oldestPostgres, TEST_DATABASE_URL: '' }, [
        'test/postgres/crashes.test.ts',
      ]),
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          globalSetup: ['test/support/postgres/global-setup.ts', 'test/support/kubernetes/global-setup.ts'],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          maxWorkers,
        },
      },
    ],
  },
});
