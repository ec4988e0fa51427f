import { cpus, loadavg, release, totalmem, type } from 'node:os';
import type { BenchServer } from './server.ts';

/** What the figures were measured on, one fact per line. */
export function machineLines(server: BenchServer): string[] {
  const processors = cpus();
  const settings = Object.entries(server.settings).map(([name, value]) => `${name} ${value}`);
  return [
    `${processors.length} cores (${processors[0]?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GiB of memory, ${type()} ${release()}, load average ${loadavg()[0]!.toFixed(1)} at the start`,
    `PostgreSQL ${server.version} (${server.source.replace(/ \(.*\)$/, '')}): ${settings.join(', ')}`,
    `Node ${process.versions.node}`,
  ];
}
