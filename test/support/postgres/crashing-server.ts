import { createCluster, type LocalServer, startCluster } from './server.ts';

/** Waits for the disk as servers do; commits that do not wait get there by nobody else's doing. */
const settings = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  wal_writer_delay: '10s',
  shared_buffers: '16MB',
};

/** Starts a local server whose data has to survive its crashes, whatever else the tests use. */
export async function startCrashingServer(): Promise<LocalServer> {
  const choice = process.env.TEST_POSTGRES;
  return startCluster(await createCluster(choice === 'container' ? undefined : choice), settings);
}
