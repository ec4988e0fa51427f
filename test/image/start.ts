import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { short } from '../bench/markdown.ts';
import { startBenchServer } from '../bench/server.ts';
import { startSqlProxy } from '../bench/sql-proxy.ts';
import { loadSchema } from '../support/postgres/schema.ts';

const runs = 10;

/** Runs in the container: starts the program as its ENTRYPOINT does, and says when. */
const starter = `
  const { spawnSync } = require('node:child_process');
  const at = Date.now();
  const { status } = spawnSync(process.execPath, ['--max-semi-space-size=2', '/app/main.js', ...process.argv.slice(1)]);
  console.log(JSON.stringify({ at, status }));
`;

/** Prints the time from the start of the program in a container to its first statement at a PostgreSQL server. */
async function main([engine, image]: string[]): Promise<void> {
  if (engine === undefined || image === undefined) throw new Error('usage: node test/image/start.ts <engine> <image>');
  const server = await startBenchServer();
  const template = await server.template('empty', (client) => loadSchema(client, 'no-action'));
  const proxy = await startSqlProxy(await server.clone(template));
  try {
    const times: number[] = [];
    for (let run = 0; run <= runs; run++) {
      const url = new URL(proxy.url);
      url.searchParams.set('sslmode', 'disable');
      const container = ['run', '--rm', '--read-only', '--cap-drop=all', '--network=host'];
      const command = [
        '--entrypoint',
        '/usr/local/bin/node',
        image,
        '-e',
        starter,
        'cleanup',
        '--database-url',
        url.href,
      ];
      const { stdout } = await promisify(execFile)(engine, [...container, ...command]);
      const { at, status } = JSON.parse(stdout) as { at: number; status: number };
      const { firstStatementAt } = proxy.take();
      if (status !== 0 || firstStatementAt === undefined) throw new Error(`the run ended with ${status}`);
      // The first run only warms the file cache.
      if (run > 0) times.push(performance.timeOrigin + firstStatementAt - at);
    }
    times.sort((a, b) => a - b);
    const [least, median, most] = [times[0]!, times[runs / 2]!, times.at(-1)!];
    process.stdout.write(`to the first SQL, in a container: ${short(median)} ms (${short(least)}–${short(most)})\n`);
  } finally {
    proxy.stop();
    await server.stop();
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`image-start: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
